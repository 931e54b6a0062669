package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// natsReplicas is the replication factor of the stream of a load.
const natsReplicas = 3

func natsDial(o *options, endpoint string, opts ...nats.Option) (*nats.Conn, jetstream.JetStream, error) {
	opts = append(opts, nats.Timeout(o.timeout), nats.MaxReconnects(-1), nats.IgnoreDiscoveredServers())
	nc, err := nats.Connect("nats://"+endpoint, opts...)
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	return nc, js, nil
}

// natsGet asks a monitoring endpoint.
func natsGet(ctx context.Context, monitor, path string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+monitor+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		return fmt.Errorf("%s%s: %w", monitor, path, err)
	}
	return nil
}

// natsView is what one server tells about itself and its Raft groups.
type natsView struct {
	name   string
	meta   natsGroup
	stream natsGroup // of the stream of the load, zero without one
	size   int
	last   int64 // last sequence number of the local replica of the stream
}

type natsGroup struct {
	ID     string `json:"id"`
	State  string `json:"state"`
	Leader string `json:"leader"`
	Term   uint64 `json:"term"`
	Index  uint64 `json:"pindex"`
}

const (
	natsSystemAccount = "$SYS"
	natsGlobalAccount = "$G"
	natsMetaGroup     = "_meta_"
)

// natsStatus reports the meta group's leader and term, since every server is
// in it; Election has those of the stream as well. The revision is the last
// sequence number of the stream on that server.
func natsStatus(ctx context.Context, o *options) *status {
	s := &status{System: "nats", Members: make([]member, len(o.endpoints))}
	views := make([]natsView, len(o.endpoints))
	each(o, func(i int, endpoint string) {
		m := &s.Members[i]
		m.Endpoint = endpoint
		v, err := natsLook(ctx, o, i)
		if err != nil {
			m.Err = err.Error()
			return
		}
		views[i] = v
		m.Name, m.ID, m.Leader, m.Term, m.Index = v.name, v.meta.ID, v.meta.Leader, v.meta.Term, v.meta.Index
		m.Role, m.Revision = strings.ToLower(v.meta.State), v.last
		m.Detail = fmt.Sprintf("stream %s term %d", strings.ToLower(v.stream.State), v.stream.Term)
	})
	s.agree("meta")
	leader, term := "", uint64(0)
	for i, v := range views {
		s.Size = max(s.Size, v.size)
		term = max(term, v.stream.Term)
		if strings.ToLower(v.stream.State) == roleLeader {
			leader = o.endpoints[i]
		}
	}
	if term > 0 {
		s.Election += fmt.Sprintf(" stream=%s@%d", leader, term)
	}
	s.count(ctx, openNATS, o)
	return s
}

func natsLook(ctx context.Context, o *options, i int) (natsView, error) {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	var v natsView
	if i >= len(o.monitors) {
		return v, errors.New("no monitoring address for this endpoint")
	}
	monitor := o.monitors[i]
	var varz struct {
		Name string `json:"server_name"`
	}
	if err := natsGet(ctx, monitor, "/varz", &varz); err != nil {
		return v, err
	}
	v.name = varz.Name
	var jsz struct {
		Meta struct {
			Size int `json:"cluster_size"`
		} `json:"meta_cluster"`
		Accounts []struct {
			Streams []struct {
				Name  string `json:"name"`
				Group string `json:"stream_raft_group"`
				State struct {
					Last int64 `json:"last_seq"`
				} `json:"state"`
			} `json:"stream_detail"`
		} `json:"account_details"`
	}
	if err := natsGet(ctx, monitor, "/jsz?accounts=true&streams=true&raft=true", &jsz); err != nil {
		return v, err
	}
	v.size = jsz.Meta.Size
	var err error
	if v.meta, err = natsRaft(ctx, monitor, natsSystemAccount, natsMetaGroup); err != nil {
		return v, err
	}
	for _, a := range jsz.Accounts {
		for _, st := range a.Streams {
			if st.Name == o.prefix {
				v.last = st.State.Last
				v.stream, err = natsRaft(ctx, monitor, natsGlobalAccount, st.Group)
			}
		}
	}
	return v, err
}

func natsRaft(ctx context.Context, monitor, account, group string) (natsGroup, error) {
	var raftz map[string]map[string]natsGroup
	query := url.Values{"acc": {account}, "group": {group}}
	if err := natsGet(ctx, monitor, "/raftz?"+query.Encode(), &raftz); err != nil {
		return natsGroup{}, err
	}
	g, ok := raftz[account][group]
	if !ok {
		return g, fmt.Errorf("%s: no Raft group %s in account %s", monitor, group, account)
	}
	return g, nil
}

// natsHealth asks each server whether all its assets are current, and for a
// stream through it, which the cluster's leader answers.
func natsHealth(ctx context.Context, o *options) error {
	return eachErr(ctx, o, func(ctx context.Context, i int, endpoint string) error {
		if i < len(o.monitors) {
			var h struct {
				Status string `json:"status"`
				Error  string `json:"error"`
			}
			if err := natsGet(ctx, o.monitors[i], "/healthz", &h); err != nil {
				return err
			}
			if h.Status != "ok" {
				return fmt.Errorf("%s: %s", h.Status, h.Error)
			}
		}
		nc, js, err := natsDial(o, endpoint)
		if err != nil {
			return err
		}
		defer nc.Close()
		_, err = js.Stream(ctx, o.prefix)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil
		}
		return err
	})
}

// natsStore keeps entry worker/seq as a message on subject PREFIX.worker.seq.
type natsStore struct {
	conn   *nats.Conn
	js     jetstream.JetStream
	stream jetstream.Stream
	prefix string
	losses *atomic.Int32
}

func openNATS(_ context.Context, o *options, endpoint string) (store, error) {
	losses := &atomic.Int32{}
	nc, js, err := natsDial(o, endpoint,
		nats.DisconnectErrHandler(func(*nats.Conn, error) { losses.Add(1) }))
	if err != nil {
		return nil, err
	}
	return &natsStore{conn: nc, js: js, prefix: o.prefix, losses: losses}, nil
}

// Init makes the stream, if another worker has not made it. A server whose group
// of leaders is young may never answer, so it asks again.
func (s *natsStore) Init(ctx context.Context) (err error) {
	for {
		once, cancel := context.WithTimeout(ctx, 2*time.Second)
		s.stream, err = s.js.CreateOrUpdateStream(once, jetstream.StreamConfig{
			Name:     s.prefix,
			Subjects: []string{s.prefix + ".>"},
			Replicas: natsReplicas,
			Storage:  jetstream.FileStorage,
		})
		cancel()
		if err == nil {
			return s.reach(ctx)
		}
		if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
}

// reach returns when the stream answers through our server, which learns of a
// new stream a moment after it was made. The message that it sends is refused
// by the stream for its sequence number, and changes nothing.
func (s *natsStore) reach(ctx context.Context) error {
	for {
		_, err := s.js.Publish(ctx, s.prefix+".reach", nil, jetstream.WithExpectLastSequence(math.MaxInt64))
		var refused *jetstream.APIError
		switch {
		case errors.As(err, &refused) && refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence:
			return nil
		case err == nil:
			return errors.New("the stream took a message out of sequence")
		case !errors.Is(err, jetstream.ErrNoStreamResponse):
			return err
		}
	}
}

func (s *natsStore) subject(e entry) string {
	return fmt.Sprintf("%s.%d.%d", s.prefix, e.worker, e.seq)
}

func (s *natsStore) Write(ctx context.Context, e entry) error {
	_, err := s.js.Publish(ctx, s.subject(e), strconv.AppendUint(nil, e.seq, 10))
	return err
}

func (s *natsStore) Read(ctx context.Context, e entry) error {
	msg, err := s.stream.GetLastMsgForSubject(ctx, s.subject(e))
	if err != nil {
		return err
	}
	if string(msg.Data) != strconv.FormatUint(e.seq, 10) {
		return fmt.Errorf("%s: got %q", s.subject(e), msg.Data)
	}
	return nil
}

// All asks the stream's leader for its subjects: a consumer would be a change
// of the cluster, and may miss its first messages.
func (s *natsStore) All(ctx context.Context) (map[entry]bool, error) {
	entries := map[entry]bool{}
	stream, err := s.js.Stream(ctx, s.prefix)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return entries, nil
	}
	if err != nil {
		return nil, err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(s.prefix+".>"))
	if err != nil {
		return nil, err
	}
	for subject := range info.State.Subjects {
		var e entry
		if _, err := fmt.Sscanf(strings.TrimPrefix(subject, s.prefix), ".%d.%d", &e.worker, &e.seq); err != nil {
			return nil, fmt.Errorf("subject %q: %w", subject, err)
		}
		entries[e] = true
	}
	return entries, nil
}

func (s *natsStore) Losses() int { return int(s.losses.Load()) }
func (s *natsStore) Close()      { s.conn.Close() }
