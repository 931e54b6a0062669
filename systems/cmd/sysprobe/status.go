package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// status is what "sysprobe SYSTEM status" prints. Fields that a system does
// not have are zero.
type status struct {
	System  string `json:"system"`
	Healthy bool   `json:"healthy"` // all answered, and agree on a leader and term
	Leader  string `json:"leader"`  // endpoint of the leader, or empty
	Term    uint64 `json:"term"`    // see each system; changes with every election
	// Election names the leader and term of every replicated group, such as
	// "raft=127.0.0.1:2379@2": it changes if and only if there was an election.
	Election string `json:"election"`
	Size     int    `json:"size"` // members that the cluster says it has
	Keys     int    `json:"keys"` // entries under the prefix
	Last     uint64 `json:"last"` // highest sequence number under the prefix
	// Foreign is how many changes of the whole store were not made by a load:
	// exact, and for etcd only.
	Foreign int64    `json:"foreign"`
	Members []member `json:"members"`
	Err     string   `json:"err,omitempty"` // why keys could not be counted
}

type member struct {
	Endpoint string `json:"endpoint"`
	Name     string `json:"name,omitempty"`
	ID       string `json:"id,omitempty"`
	Role     string `json:"role,omitempty"` // "leader", "follower", ...
	Leader   string `json:"leader,omitempty"`
	Term     uint64 `json:"term"`
	Revision int64  `json:"revision"` // position in the replicated history, applied
	Index    uint64 `json:"index"`    // position in the replicated log
	Detail   string `json:"detail,omitempty"`
	Err      string `json:"err,omitempty"`
}

const (
	roleLeader   = "leader"
	roleFollower = "follower"
)

// each calls f for every endpoint at the same time.
func each(o *options, f func(i int, endpoint string)) {
	var wg sync.WaitGroup
	for i, endpoint := range o.endpoints {
		wg.Go(func() { f(i, endpoint) })
	}
	wg.Wait()
}

// eachErr is each for a function that can fail; the error names the endpoint.
func eachErr(ctx context.Context, o *options, f func(ctx context.Context, i int, endpoint string) error) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	errs := make([]error, len(o.endpoints))
	each(o, func(i int, endpoint string) {
		if err := f(ctx, i, endpoint); err != nil {
			errs[i] = fmt.Errorf("%s: %w", endpoint, err)
		}
	})
	return errors.Join(errs...)
}

// agree fills what follows from the members: the leader of the group, its
// term, and whether all of them tell the same.
func (s *status) agree(group string) {
	s.Healthy = true
	for _, m := range s.Members {
		if m.Role == roleLeader {
			if s.Leader != "" {
				s.Healthy = false // two at once
			}
			s.Leader = m.Endpoint
		}
		s.Term = max(s.Term, m.Term)
	}
	for _, m := range s.Members {
		if m.Err != "" || m.Term != s.Term || (m.Leader != "" && m.Leader != s.Members[0].Leader) {
			s.Healthy = false
		}
	}
	if s.Leader == "" {
		s.Healthy = false
	}
	s.Election = fmt.Sprintf("%s=%s@%d", group, s.Leader, s.Term)
}

// count fills what is stored, read through the first endpoint that answers.
func (s *status) count(ctx context.Context, open opener, o *options) {
	for _, endpoint := range o.endpoints {
		s.Err = ""
		entries, err := readAll(ctx, open, o, endpoint, o.timeout)
		if err != nil {
			s.Err = fmt.Sprintf("%s: %v", endpoint, err)
			continue
		}
		s.Keys = len(entries)
		for e := range entries {
			s.Last = max(s.Last, e.seq)
		}
		return
	}
	s.Healthy = false
}

func readAll(ctx context.Context, open opener, o *options, endpoint string, limit time.Duration) (map[entry]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	st, err := open(ctx, o, endpoint)
	if err != nil {
		return nil, err
	}
	defer st.Close()
	return st.All(ctx)
}
