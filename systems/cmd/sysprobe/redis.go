package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// redisConn speaks RESP, the protocol of Redis, over one connection.
type redisConn struct {
	conn net.Conn
	r    *bufio.Reader
}

func redisDial(ctx context.Context, o *options, endpoint string) (*redisConn, error) {
	d := net.Dialer{Timeout: o.timeout}
	conn, err := d.DialContext(ctx, "tcp", endpoint)
	if err != nil {
		return nil, err
	}
	return &redisConn{conn: conn, r: bufio.NewReader(conn)}, nil
}

// do sends a command and returns its reply: string, int64, []any or nil.
func (c *redisConn) do(ctx context.Context, args ...string) (any, error) {
	deadline, _ := ctx.Deadline() // none is the zero time: no limit
	if err := c.conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := io.WriteString(c.conn, b.String()); err != nil {
		return nil, err
	}
	return c.reply()
}

func (c *redisConn) reply() (any, error) {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return nil, errors.New("empty reply")
	}
	rest := line[1:]
	switch line[0] {
	case '+':
		return rest, nil
	case '-':
		return nil, errors.New(rest)
	case ':':
		return strconv.ParseInt(rest, 10, 64)
	}
	n, err := strconv.Atoi(rest)
	if err != nil || (line[0] != '$' && line[0] != '*') {
		return nil, fmt.Errorf("bad reply %q", line)
	}
	if n < 0 {
		return nil, nil
	}
	if line[0] == '$' {
		buf := make([]byte, n+len("\r\n"))
		_, err := io.ReadFull(c.r, buf)
		return string(buf[:n]), err
	}
	list := make([]any, n)
	for i := range list {
		if list[i], err = c.reply(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// info returns a section of INFO.
func (c *redisConn) info(ctx context.Context, section string) (map[string]string, error) {
	got, err := c.do(ctx, "INFO", section)
	if err != nil {
		return nil, err
	}
	text, _ := got.(string)
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[k] = v
		}
	}
	return fields, nil
}

// redisInfo asks one endpoint for its replication state.
func redisInfo(ctx context.Context, o *options, endpoint string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	c, err := redisDial(ctx, o, endpoint)
	if err != nil {
		return nil, err
	}
	defer c.conn.Close()
	return c.info(ctx, "replication")
}

// redisStatus reports the start of the replication id as the term: it is new
// after every failover. Revision and index are the replication offset.
func redisStatus(ctx context.Context, o *options) *status {
	s := &status{System: "redis", Members: make([]member, len(o.endpoints))}
	links := make([]string, len(o.endpoints))
	sizes := make([]int, len(o.endpoints))
	each(o, func(i int, endpoint string) {
		m := &s.Members[i]
		m.Endpoint = endpoint
		info, err := redisInfo(ctx, o, endpoint)
		if err != nil {
			m.Err = err.Error()
			return
		}
		m.ID = info["master_replid"]
		m.Term, _ = strconv.ParseUint(m.ID[:min(16, len(m.ID))], 16, 64)
		m.Revision, _ = strconv.ParseInt(info["master_repl_offset"], 10, 64)
		m.Index = uint64(m.Revision)
		if info["role"] == "master" {
			m.Role, m.Leader = roleLeader, endpoint
			replicas, _ := strconv.Atoi(info["connected_slaves"])
			sizes[i] = 1 + replicas
			return
		}
		m.Role = roleFollower
		m.Leader = net.JoinHostPort(info["master_host"], info["master_port"])
		links[i] = info["master_link_status"]
		m.Detail = "link " + links[i]
	})
	for _, n := range sizes {
		s.Size = max(s.Size, n)
	}
	s.agree("replication")
	for _, link := range links {
		if link != "" && link != "up" {
			s.Healthy = false
		}
	}
	s.count(ctx, openRedis, o)
	return s
}

// redisHealth wants every replica linked, and the master to have as many
// replicas as there are other endpoints.
func redisHealth(ctx context.Context, o *options) error {
	return eachErr(ctx, o, func(ctx context.Context, _ int, endpoint string) error {
		info, err := redisInfo(ctx, o, endpoint)
		if err != nil {
			return err
		}
		if info["role"] != "master" {
			if info["master_link_status"] != "up" {
				return fmt.Errorf("link to the master is %s", info["master_link_status"])
			}
			return nil
		}
		if n, _ := strconv.Atoi(info["connected_slaves"]); n < len(o.endpoints)-1 {
			return fmt.Errorf("%d replicas are connected, not %d", n, len(o.endpoints)-1)
		}
		return nil
	})
}

// redisStore keeps entry worker/seq under the key PREFIX:worker:seq.
type redisStore struct {
	opts     *options
	endpoint string
	conn     *redisConn // nil after an error, until the next request
	losses   atomic.Int32
}

func openRedis(ctx context.Context, o *options, endpoint string) (store, error) {
	c, err := redisDial(ctx, o, endpoint)
	if err != nil {
		return nil, err
	}
	return &redisStore{opts: o, endpoint: endpoint, conn: c}, nil
}

// do dials again if the connection was lost.
func (s *redisStore) do(ctx context.Context, args ...string) (any, error) {
	if s.conn == nil {
		c, err := redisDial(ctx, s.opts, s.endpoint)
		if err != nil {
			return nil, err
		}
		s.conn = c
	}
	got, err := s.conn.do(ctx, args...)
	var lost net.Error
	if errors.Is(err, io.EOF) || errors.As(err, &lost) {
		s.losses.Add(1)
		s.Close()
	}
	return got, err
}

func (s *redisStore) Init(ctx context.Context) error {
	_, err := s.do(ctx, "PING")
	return err
}

func (s *redisStore) key(e entry) string {
	return fmt.Sprintf("%s:%d:%d", s.opts.prefix, e.worker, e.seq)
}

// orderKey is the list of a worker's entries as they were taken.
func (s *redisStore) orderKey(worker int) string {
	return fmt.Sprintf("order:%s:%d", s.opts.prefix, worker)
}

// Write counts a write as acknowledged when a replica has it.
func (s *redisStore) Write(ctx context.Context, e entry) error {
	if _, err := s.do(ctx, "SET", s.key(e), strconv.FormatUint(e.seq, 10)); err != nil {
		return err
	}
	if _, err := s.do(ctx, "RPUSH", s.orderKey(e.worker), strconv.FormatUint(e.seq, 10)); err != nil {
		return err
	}
	limit := strconv.FormatInt((s.opts.timeout - 100*time.Millisecond).Milliseconds(), 10)
	replicas, err := s.do(ctx, "WAIT", "1", limit)
	if err != nil {
		return err
	}
	if replicas != int64(1) {
		return fmt.Errorf("%v replicas have it", replicas)
	}
	return nil
}

func (s *redisStore) Read(ctx context.Context, e entry) error {
	got, err := s.do(ctx, "GET", s.key(e))
	if err != nil {
		return err
	}
	if got != strconv.FormatUint(e.seq, 10) {
		return fmt.Errorf("%s: got %v", s.key(e), got)
	}
	return nil
}

func (s *redisStore) All(ctx context.Context) (map[entry]bool, error) {
	entries := map[entry]bool{}
	for cursor := "0"; ; {
		got, err := s.do(ctx, "SCAN", cursor, "MATCH", s.opts.prefix+":*", "COUNT", "1000")
		if err != nil {
			return nil, err
		}
		page, ok := got.([]any)
		if !ok || len(page) != 2 {
			return nil, fmt.Errorf("SCAN: got %v", got)
		}
		keys, _ := page[1].([]any)
		for _, key := range keys {
			name, _ := key.(string)
			var e entry
			if _, err := fmt.Sscanf(strings.TrimPrefix(name, s.opts.prefix), ":%d:%d", &e.worker, &e.seq); err != nil {
				return nil, fmt.Errorf("key %q: %w", name, err)
			}
			entries[e] = true
		}
		if cursor, _ = page[0].(string); cursor == "0" {
			return entries, nil
		}
	}
}

// Order reads the lists of all workers.
func (s *redisStore) Order(ctx context.Context) (map[int][]uint64, error) {
	order := map[int][]uint64{}
	for worker := range s.opts.workers {
		got, err := s.do(ctx, "LRANGE", s.orderKey(worker), "0", "-1")
		if err != nil {
			return nil, err
		}
		list, _ := got.([]any)
		for _, item := range list {
			text, _ := item.(string)
			n, err := strconv.ParseUint(text, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.orderKey(worker), err)
			}
			order[worker] = append(order[worker], n)
		}
	}
	return order, nil
}

func (s *redisStore) Losses() int { return int(s.losses.Load()) }

func (s *redisStore) Close() {
	if s.conn != nil {
		s.conn.conn.Close()
		s.conn = nil
	}
}
