package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/connectivity"
)

var etcdVerbs = map[string]func(context.Context, *options) error{
	"member-list":   etcdMemberList,
	"member-remove": etcdMemberRemove,
	"member-add":    etcdMemberAdd,
}

func etcdDial(o *options, endpoints ...string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{
		Endpoints:   endpoints,
		DialTimeout: o.timeout,
		Logger:      zap.NewNop(),
	})
}

// etcdStatus reports the Raft term as the term and the store's revision and
// Raft index as the positions.
func etcdStatus(ctx context.Context, o *options) *status {
	s := &status{System: "etcd", Members: make([]member, len(o.endpoints))}
	sizes := make([]int, len(o.endpoints))
	each(o, func(i int, endpoint string) {
		m := &s.Members[i]
		m.Endpoint = endpoint
		if err := etcdMember(ctx, o, m, &sizes[i]); err != nil {
			m.Err = err.Error()
		}
	})
	for _, n := range sizes {
		s.Size = max(s.Size, n)
	}
	s.agree("raft")
	s.count(ctx, openEtcd, o)
	if err := etcdForeign(ctx, o, s); err != nil && s.Err == "" {
		s.Err = err.Error()
	}
	return s
}

// etcdForeign counts what no load did. An empty store has revision 1, and a
// load makes one revision for each of its keys: all others are foreign. The
// answer has both numbers of one instant, so writes may go on meanwhile.
func etcdForeign(ctx context.Context, o *options, s *status) error {
	return etcdCluster(ctx, o, func(ctx context.Context, c *clientv3.Client) error {
		got, err := c.Get(ctx, o.prefix+"/", clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			return err
		}
		s.Foreign = got.Header.Revision - 1 - got.Count
		return nil
	})
}

func etcdMember(ctx context.Context, o *options, m *member, size *int) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	c, err := etcdDial(o, m.Endpoint)
	if err != nil {
		return err
	}
	defer c.Close()
	st, err := c.Status(ctx, m.Endpoint)
	if err != nil {
		return err
	}
	m.ID = strconv.FormatUint(st.Header.MemberId, 16)
	m.Term = st.RaftTerm
	m.Revision = st.Header.Revision
	m.Index = st.RaftIndex
	m.Detail = "version " + st.Version
	if st.Leader != 0 {
		m.Leader = strconv.FormatUint(st.Leader, 16)
	}
	m.Role = roleFollower
	switch {
	case st.Leader == st.Header.MemberId:
		m.Role = roleLeader
	case st.IsLearner:
		m.Role = "learner"
	}
	if list, err := c.MemberList(ctx); err == nil {
		*size = len(list.Members)
		for _, known := range list.Members {
			if known.ID == st.Header.MemberId {
				m.Name = known.Name
			}
		}
	}
	if len(st.Errors) > 0 {
		return errors.New(strings.Join(st.Errors, "; "))
	}
	return nil
}

// etcdHealth makes a linearizable read through each endpoint.
func etcdHealth(ctx context.Context, o *options) error {
	return eachErr(ctx, o, func(ctx context.Context, _ int, endpoint string) error {
		c, err := etcdDial(o, endpoint)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Get(ctx, "health")
		return err
	})
}

func etcdMemberList(ctx context.Context, o *options) error {
	return etcdCluster(ctx, o, func(ctx context.Context, c *clientv3.Client) error {
		list, err := c.MemberList(ctx)
		if err != nil {
			return err
		}
		for _, m := range list.Members {
			fmt.Printf("%x %s %s %s\n", m.ID, m.Name, strings.Join(m.PeerURLs, ","), strings.Join(m.ClientURLs, ","))
		}
		return nil
	})
}

func etcdMemberRemove(ctx context.Context, o *options) error {
	if len(o.args) != 1 {
		return errors.New("member-remove wants NAME")
	}
	return etcdCluster(ctx, o, func(ctx context.Context, c *clientv3.Client) error {
		list, err := c.MemberList(ctx)
		if err != nil {
			return err
		}
		for _, m := range list.Members {
			if m.Name == o.args[0] {
				_, err := c.MemberRemove(ctx, m.ID)
				return err
			}
		}
		return fmt.Errorf("no member is named %q", o.args[0])
	})
}

// etcdMemberAdd takes a name only for the operator's sake: a new member tells
// its name when it starts.
func etcdMemberAdd(ctx context.Context, o *options) error {
	if len(o.args) != 2 {
		return errors.New("member-add wants NAME PEERURL")
	}
	return etcdCluster(ctx, o, func(ctx context.Context, c *clientv3.Client) error {
		added, err := c.MemberAdd(ctx, []string{o.args[1]})
		if err != nil {
			return err
		}
		fmt.Printf("%x %s %s\n", added.Member.ID, o.args[0], o.args[1])
		return nil
	})
}

func etcdCluster(ctx context.Context, o *options, f func(context.Context, *clientv3.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	c, err := etcdDial(o, o.endpoints...)
	if err != nil {
		return err
	}
	defer c.Close()
	return f(ctx, c)
}

// etcdStore keeps entry worker/seq under the key PREFIX/worker/seq.
type etcdStore struct {
	client *clientv3.Client
	prefix string
	losses atomic.Int32
	stop   context.CancelFunc
}

func openEtcd(ctx context.Context, o *options, endpoint string) (store, error) {
	c, err := etcdDial(o, endpoint)
	if err != nil {
		return nil, err
	}
	watch, stop := context.WithCancel(context.Background())
	s := &etcdStore{client: c, prefix: o.prefix + "/", stop: stop}
	go s.watch(watch)
	return s, nil
}

// watch counts how often the connection leaves the state "ready".
func (s *etcdStore) watch(ctx context.Context) {
	conn := s.client.ActiveConnection()
	for state := conn.GetState(); conn.WaitForStateChange(ctx, state); {
		next := conn.GetState()
		if state == connectivity.Ready && ctx.Err() == nil {
			s.losses.Add(1)
		}
		state = next
	}
}

// Init waits until the endpoint serves.
func (s *etcdStore) Init(ctx context.Context) error {
	_, err := s.client.Get(ctx, "health")
	return err
}

func (s *etcdStore) key(e entry) string {
	return fmt.Sprintf("%s%d/%010d", s.prefix, e.worker, e.seq)
}

func (s *etcdStore) Write(ctx context.Context, e entry) error {
	_, err := s.client.Put(ctx, s.key(e), strconv.FormatUint(e.seq, 10))
	return err
}

func (s *etcdStore) Read(ctx context.Context, e entry) error {
	got, err := s.client.Get(ctx, s.key(e))
	if err != nil {
		return err
	}
	if len(got.Kvs) != 1 || string(got.Kvs[0].Value) != strconv.FormatUint(e.seq, 10) {
		return fmt.Errorf("%s: acknowledged write is not there", s.key(e))
	}
	return nil
}

func (s *etcdStore) All(ctx context.Context) (map[entry]bool, error) {
	entries := map[entry]bool{}
	err := s.scan(ctx, func(e entry, kv *mvccpb.KeyValue) {
		if string(kv.Value) == strconv.FormatUint(e.seq, 10) {
			entries[e] = true
		}
	})
	return entries, err
}

// Order sorts by the revision at which each entry was written last. Each is
// written once, so a higher version is one that was taken twice.
func (s *etcdStore) Order(ctx context.Context) (map[int][]uint64, error) {
	type taken struct {
		entry
		revision, version int64
	}
	var all []taken
	if err := s.scan(ctx, func(e entry, kv *mvccpb.KeyValue) {
		all = append(all, taken{e, kv.ModRevision, kv.Version})
	}); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b taken) int { return cmp.Compare(a.revision, b.revision) })
	order := map[int][]uint64{}
	for _, t := range all {
		for range t.version {
			order[t.worker] = append(order[t.worker], t.seq)
		}
	}
	return order, nil
}

// scan shows every stored entry to see. It reads in pages: a reply is limited
// to a few MiB.
func (s *etcdStore) scan(ctx context.Context, see func(entry, *mvccpb.KeyValue)) error {
	from, end := s.prefix, clientv3.GetPrefixRangeEnd(s.prefix)
	for {
		page, err := s.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(5000))
		if err != nil {
			return err
		}
		for _, kv := range page.Kvs {
			var e entry
			if _, err := fmt.Sscanf(string(kv.Key[len(s.prefix):]), "%d/%d", &e.worker, &e.seq); err != nil {
				return fmt.Errorf("key %q: %w", kv.Key, err)
			}
			see(e, kv)
		}
		if !page.More {
			return nil
		}
		from = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	}
}

func (s *etcdStore) Losses() int { return int(s.losses.Load()) }

func (s *etcdStore) Close() {
	s.stop()
	s.client.Close()
}
