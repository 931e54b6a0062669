package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"
)

// zkSession is the session timeout that is asked for.
const zkSession = 10 * time.Second

// zkStatus reports the epoch, the high half of the transaction id, as the
// term, and the transaction id as revision and index.
func zkStatus(ctx context.Context, o *options) *status {
	s := &status{System: "zk", Members: make([]member, len(o.endpoints))}
	sizes := make([]int, len(o.endpoints))
	each(o, func(i int, endpoint string) {
		m := &s.Members[i]
		m.Endpoint = endpoint
		if err := zkMember(ctx, o, m, &sizes[i]); err != nil {
			m.Err = err.Error()
		}
	})
	for _, n := range sizes {
		s.Size = max(s.Size, n)
	}
	s.agree("zab")
	s.count(ctx, openZK, o)
	return s
}

func zkMember(ctx context.Context, o *options, m *member, size *int) error {
	ok, err := zkAsk(ctx, o, m.Endpoint, "ruok")
	if err != nil {
		return err
	}
	if ok != "imok" {
		return fmt.Errorf("ruok: got %q", ok)
	}
	srvr, err := zkAsk(ctx, o, m.Endpoint, "srvr")
	if err != nil {
		return err
	}
	fields := map[string]string{}
	for line := range strings.Lines(srvr) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			fields[k] = v
		}
	}
	m.Role = fields["Mode"]
	if m.Role == "" {
		return errors.New(strings.TrimSpace(srvr)) // "not currently serving requests"
	}
	zxid, err := strconv.ParseUint(strings.TrimPrefix(fields["Zxid"], "0x"), 16, 64)
	if err != nil {
		return fmt.Errorf("srvr: zxid: %w", err)
	}
	m.Term, m.Revision, m.Index = zxid>>32, int64(zxid), zxid

	mntr, err := zkAsk(ctx, o, m.Endpoint, "mntr")
	if err != nil {
		return err
	}
	for line := range strings.Lines(mntr) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "\t")
		switch k {
		case "zk_quorum_size":
			*size, _ = strconv.Atoi(v)
		case "zk_peer_state":
			m.Detail = v
		}
	}
	return nil
}

// zkAsk sends a four-letter word.
func zkAsk(ctx context.Context, o *options, endpoint, word string) (string, error) {
	d := net.Dialer{Timeout: o.timeout}
	conn, err := d.DialContext(ctx, "tcp", endpoint)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(o.timeout)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, word); err != nil {
		return "", err
	}
	reply, err := io.ReadAll(bufio.NewReader(conn))
	if err != nil {
		return "", fmt.Errorf("%s: %w", word, err)
	}
	return string(reply), nil
}

// zkHealth opens a session through each server and makes it catch up with the
// leader.
func zkHealth(ctx context.Context, o *options) error {
	return eachErr(ctx, o, func(ctx context.Context, _ int, endpoint string) error {
		st, err := openZK(ctx, o, endpoint)
		if err != nil {
			return err
		}
		defer st.Close()
		return zkWait(ctx, func() error {
			_, err := st.(*zkStore).conn.Sync("/")
			return err
		})
	})
}

// zkStore keeps entry worker/seq as the node /PREFIX/worker/seq.
type zkStore struct {
	conn   *zk.Conn
	prefix string
	losses *atomic.Int32
}

func openZK(ctx context.Context, o *options, endpoint string) (store, error) {
	session := make(chan struct{}, 1)
	losses := &atomic.Int32{}
	conn, _, err := zk.Connect([]string{endpoint}, zkSession, zk.WithLogInfo(false),
		zk.WithLogger(log.New(io.Discard, "", 0)),
		zk.WithEventCallback(func(ev zk.Event) {
			switch ev.State {
			case zk.StateHasSession:
				select {
				case session <- struct{}{}:
				default:
				}
			case zk.StateDisconnected, zk.StateExpired:
				losses.Add(1)
			}
		}))
	if err != nil {
		return nil, err
	}
	select {
	case <-session:
	case <-ctx.Done():
		conn.Close()
		return nil, fmt.Errorf("no session: %w", ctx.Err())
	}
	return &zkStore{conn: conn, prefix: "/" + o.prefix, losses: losses}, nil
}

// zkWait limits f, since the client library knows no contexts. f may go on
// after the limit, until its connection is closed.
func zkWait(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *zkStore) Init(ctx context.Context) error {
	return zkWait(ctx, func() error { return s.create(s.prefix, nil) })
}

// create makes a node, or finds it there.
func (s *zkStore) create(path string, data []byte) error {
	_, err := s.conn.Create(path, data, 0, zk.WorldACL(zk.PermAll))
	if errors.Is(err, zk.ErrNodeExists) {
		return nil
	}
	return err
}

func (s *zkStore) dir(e entry) string  { return fmt.Sprintf("%s/%d", s.prefix, e.worker) }
func (s *zkStore) path(e entry) string { return fmt.Sprintf("%s/%d", s.dir(e), e.seq) }

func (s *zkStore) Write(ctx context.Context, e entry) error {
	return zkWait(ctx, func() error {
		if e.seq == 1 {
			if err := s.create(s.dir(e), nil); err != nil {
				return err
			}
		}
		return s.create(s.path(e), strconv.AppendUint(nil, e.seq, 10))
	})
}

func (s *zkStore) Read(ctx context.Context, e entry) error {
	return zkWait(ctx, func() error {
		data, _, err := s.conn.Get(s.path(e))
		if err != nil {
			return err
		}
		if string(data) != strconv.FormatUint(e.seq, 10) {
			return fmt.Errorf("%s: got %q", s.path(e), data)
		}
		return nil
	})
}

func (s *zkStore) All(ctx context.Context) (map[entry]bool, error) {
	found := make(chan map[entry]bool, 1)
	err := zkWait(ctx, func() error {
		entries, err := s.all()
		found <- entries
		return err
	})
	if err != nil {
		return nil, err
	}
	return <-found, nil
}

func (s *zkStore) all() (map[entry]bool, error) {
	entries := map[entry]bool{}
	if _, err := s.conn.Sync("/"); err != nil {
		return nil, err
	}
	workers, _, err := s.conn.Children(s.prefix)
	if errors.Is(err, zk.ErrNoNode) {
		return entries, nil
	}
	if err != nil {
		return nil, err
	}
	for _, w := range workers {
		names, _, err := s.conn.Children(s.prefix + "/" + w)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			var e entry
			if _, err := fmt.Sscanf(w+" "+name, "%d %d", &e.worker, &e.seq); err != nil {
				return nil, fmt.Errorf("node %s/%s: %w", w, name, err)
			}
			entries[e] = true
		}
	}
	return entries, nil
}

func (s *zkStore) Losses() int { return int(s.losses.Load()) }
func (s *zkStore) Close()      { s.conn.Close() }
