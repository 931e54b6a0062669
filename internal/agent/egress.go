//go:build linux

package agent

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"github.com/pilotexec/pilot/internal/egress"
	"github.com/pilotexec/pilot/internal/model"
)

// checkEgress resolves the rules for peers outside, and refuses a member that is
// connected to one that must not be touched.
func (r *run) checkEgress(ctx context.Context) (refusals []model.Refusal, err error) {
	if r.rules, refusals, err = egress.Rules(ctx, r.spec.Egress); err != nil {
		return nil, &model.UsageError{Err: err}
	}
	var pids []int
	names := map[int]string{}
	for _, m := range r.spec.Members {
		if !m.Down() {
			pids = append(pids, m.PID)
			names[m.PID] = m.Name
		}
	}
	if err := r.readHost(ctx, pids); err != nil {
		return nil, err
	}
	touching, err := egress.Touching(pids, r.rules)
	if err != nil {
		return nil, err
	}
	for _, t := range touching {
		refusals = append(refusals, model.Refusal{
			Member: names[t.PID], PID: t.PID, Object: "connection", Kind: t.Peer.String(),
			Why:  "is to a peer with the egress policy refuse-run",
			Hint: "close it, or give the peer another policy",
		})
	}
	return refusals, nil
}

// readHost finds out by which names members know each other, and what listens
// on the host beside them.
func (r *run) readHost(ctx context.Context, members []int) error {
	addresses, err := hostAddresses()
	if err != nil {
		return err
	}
	var own []netip.Addr
	for _, a := range addresses {
		if prefix, err := netip.ParsePrefix(a); err == nil {
			own = append(own, prefix.Addr())
		}
	}
	var args []string
	for _, m := range r.spec.Members {
		args = append(args, m.Args...)
	}
	r.host = egress.ReadHost(ctx, own, egress.Mentioned(args))
	r.host.Services, err = egress.Services(os.Getpid(), members)
	return err
}

// gateway puts a gateway at the edge of a world that is not released yet. Where the
// kernel has none, the world stays without a way out, and what it tries is not
// seen: no run can pass then.
func (r *round) gateway(s *side) {
	members := map[int]string{}
	for _, ph := range s.world.Phantoms() {
		members[ph.HostPID] = ph.Member.Name
	}
	var err error
	s.egress, err = egress.Start(egress.Config{
		Init: s.world.Init().PID(), Members: members, Rules: r.rules, Host: r.host,
	})
	if err != nil {
		s.egress = nil
		s.seen.Incomplete = append(s.seen.Incomplete, fmt.Sprintf("attempts to leave the world by network, which all fail: %v", err))
	}
}

// untilRefused bounds ctx by the first attempt, in any world, to reach a peer
// with which runs are refused.
func (r *round) untilRefused(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	for _, s := range r.sides() {
		if s.egress == nil {
			continue
		}
		refused := s.egress.Refused()
		go func() {
			select {
			case <-refused:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	return ctx, cancel
}

// refused reports whether a world tried such a peer.
func (r *round) refused() bool {
	for _, s := range r.sides() {
		if s.egress == nil {
			continue
		}
		select {
		case <-s.egress.Refused():
			return true
		default:
		}
	}
	return false
}

// withoutGateway leaves out the addresses on which the gateway itself listens inside
// of the world: no process of the cluster does.
func withoutGateway(listening []string) []string {
	return slices.DeleteFunc(listening, func(addr string) bool {
		a, err := netip.ParseAddrPort(addr)
		return err == nil && egress.IsGateway(a.Addr())
	})
}

// gather takes what a world's gateway has seen, together with what others have.
func (s *side) gather() {
	if s.egress == nil {
		return
	}
	s.seen.Attempts = egress.Merge(s.egress.Attempts(s.world.Released), s.seen.Attempts)
	s.seen.Incomplete = append(s.seen.Incomplete, s.egress.Incomplete()...)
}

// unguard ends the gateway of a world that has ended.
func (s *side) unguard() {
	if s.egress != nil {
		s.egress.Close()
		s.egress = nil
	}
}
