//go:build linux

package spawn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/plan"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/tracee"
	"golang.org/x/sys/unix"
)

// within finds who owns the world's user namespace, and a process whose user and
// pid namespaces those of the world are to be made in: 0 when the agent's are the
// members'. The check of a run has asked the same before production was touched.
func (w *World) within() (pid, owner int, err error) {
	var all []plan.ProcessFacts
	for _, p := range w.snap.Processes {
		s := p.Status[p.Member.PID]
		if w.container, err = containerOf(p.Member.PID); err != nil {
			return 0, 0, err
		}
		all = append(all, plan.ProcessFacts{
			Member: p.Member, Credentials: []plan.Credentials{{UIDs: s.UIDs, CapEff: s.CapEff}},
			Container: plan.Container{PID: w.container["pid"], User: w.container["user"]},
		})
	}
	owner, refusals := plan.WorldOwner(all)
	if refusals = append(refusals, plan.Containers(all)...); len(refusals) > 0 {
		return 0, 0, &model.RefusedError{Refusals: refusals}
	}
	if pid = plan.Within(all, owner); pid == 0 {
		return 0, owner, nil
	}
	for i, name := range []string{"uid_map", "gid_map"} {
		if w.root[i], err = rootOf(fmt.Sprintf("/proc/%d/%s", pid, name)); err != nil {
			return 0, 0, err
		}
	}
	return pid, owner, nil
}

// rootOf returns what number 0 of a map of user_namespaces(7) is for the agent.
func rootOf(path string) (int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		var inside, outside int
		if _, err := fmt.Sscan(line, &inside, &outside); err == nil && inside == 0 {
			return outside, nil
		}
	}
	return 0, fmt.Errorf("%s has no root", path)
}

// giveOutputs lets members open their logs again, as by /dev/stderr.
func (w *World) giveOutputs() error {
	for _, p := range w.snap.Processes {
		s := p.Status[p.Member.PID]
		if err := w.outputs[p.Index].Chown(s.UIDs[1], s.GIDs[1]); err != nil {
			return err
		}
	}
	return nil
}

// lastCap is the highest number that a set of capabilities has room for.
const lastCap = 63

func without(caps uint64, drop []int) uint64 {
	for _, c := range drop {
		caps &^= 1 << c
	}
	return caps
}

// giveCredentials takes from a thread the capabilities that it got by entering
// the world's user namespace, which are all of them there, and leaves it those
// of its origin, less the forbidden ones.
//
// The order is that of what each step needs, capabilities(7): inheritable sets
// are bound by the bounding set, ambient ones by securebits and by both other
// sets, and all steps but the last need CAP_SETPCAP.
func (ph *phantom) giveCredentials(p *tracee.Puppet, tid int) error {
	origin, known := ph.process.Status[tid]
	if !known {
		return fmt.Errorf("credentials of thread %d are not known", tid)
	}
	prm, eff := without(origin.CapPrm, forbidden), without(origin.CapEff, forbidden)
	inh, amb := without(origin.CapInh, forbidden), without(origin.CapAmb, forbidden)
	bnd := without(origin.CapBnd, forbidden)
	all := ^uint64(0)

	at, _ := p.Data()
	header, first, last := uint64(at), uint64(at)+8, uint64(at)+8+24
	buf := binary.LittleEndian.AppendUint32(nil, unix.LINUX_CAPABILITY_VERSION_3)
	buf = append(binary.LittleEndian.AppendUint32(buf, 0), capData(all, all, inh)...)
	if err := p.Write(at, append(buf, capData(eff, prm, inh)...)); err != nil {
		return err
	}
	calls := []tracee.Call{tracee.Sys(unix.SYS_CAPSET, header, first)}
	for c := range uint64(lastCap + 1) {
		if amb&(1<<c) != 0 {
			calls = append(calls, tracee.Sys(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, c, 0, 0))
		}
	}
	for c := range uint64(lastCap + 1) {
		if bnd&(1<<c) == 0 {
			calls = append(calls, tracee.Sys(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c))
		}
	}
	calls = append(calls, tracee.Sys(unix.SYS_PRCTL, unix.PR_SET_SECUREBITS, uint64(ph.process.Securebits)))
	if origin.NoNewPrivs {
		calls = append(calls, tracee.Sys(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1))
	}
	calls = append(calls, tracee.Sys(unix.SYS_CAPSET, header, last))
	if _, err := p.Batch(calls); err != nil {
		return err
	}
	for _, c := range calls {
		// Numbers that this kernel has no capability for.
		if c.Args[0] == unix.PR_CAPBSET_DROP && errors.Is(c.Err(), unix.EINVAL) {
			continue
		}
		if err := c.Err(); err != nil {
			return fmt.Errorf("set credentials: call %d (%d, %d): %w", c.Nr, c.Args[0], c.Args[1], err)
		}
	}
	return nil
}

// capData lays out the two struct __user_cap_data_struct of capset(2).
func capData(effective, permitted, inheritable uint64) (out []byte) {
	for half := range 2 {
		for _, set := range []uint64{effective, permitted, inheritable} {
			out = binary.LittleEndian.AppendUint32(out, uint32(set>>(32*half)))
		}
	}
	return out
}

// auditCredentials looks at who the threads of a phantom are and what they may
// do: nothing that their origins may not, and nothing that reaches out of a world.
func auditCredentials(ph *phantom) error {
	tids, err := procfs.Tasks(ph.lead.PID)
	if err != nil {
		return err
	}
	origins := map[int]procfs.Status{}
	for tid, s := range ph.process.Status {
		origins[ph.process.Number(tid)] = s
	}
	for _, tid := range tids {
		s, err := procfs.ReadTaskStatus(ph.lead.PID, tid)
		if err != nil {
			return err
		}
		number := s.NSpid[len(s.NSpid)-1]
		origin, known := origins[number]
		if !known {
			return fmt.Errorf("thread %d has no origin", number)
		}
		if !slices.Equal(s.UIDs, origin.UIDs) || !slices.Equal(s.GIDs, origin.GIDs) || !slices.Equal(s.Groups, origin.Groups) {
			return fmt.Errorf("thread %d is of user %v, groups %v %v; its origin of %v, %v %v", number,
				s.UIDs, s.GIDs, s.Groups, origin.UIDs, origin.GIDs, origin.Groups)
		}
		for _, set := range [][2]uint64{
			{s.CapEff, origin.CapEff}, {s.CapPrm, origin.CapPrm}, {s.CapInh, origin.CapInh},
			{s.CapAmb, origin.CapAmb}, {s.CapBnd, origin.CapBnd},
		} {
			if extra := set[0] &^ without(set[1], forbidden); extra != 0 {
				return fmt.Errorf("thread %d has capabilities %#x that its origin has not, or that reach out of the world", number, extra)
			}
		}
	}
	return nil
}
