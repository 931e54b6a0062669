//go:build linux

package tracee

import (
	"errors"
	"fmt"
	"slices"

	"github.com/pilotexec/pilot/internal/filter"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// ErrFiltered means that a seccomp filter of production would not let a call
// pass that pilot needs it to make.
var ErrFiltered = errors.New("forbidden by a seccomp filter")

// A Filtering tells what seccomp filters of a process mean for pilot.
type Filtering struct {
	// Denied are the calls that production itself would have to make, and what
	// becomes of each.
	Denied []string
	// Unlike is a thread with other filters than the first one, 0 for none.
	Unlike int
	// Supervised is set when a filter hands calls to another process.
	Supervised bool
}

// named is a call with its name.
type named struct {
	name string
	Call
}

// injected lists the calls that production, or what is orphaned of pilot in it,
// may come to make: each arrives under the filters of the process.
func (o *Origin) injected() []named {
	data := uint64(o.Data())
	return []named{
		{"mmap", o.arenaCall()},
		{"munmap", Sys(unix.SYS_MUNMAP, uint64(o.arena), ArenaSize)},
		{"clone of a thread", o.helperCall()},
		{"clone of the process", o.seedCall()},
		{"close_range", emptyTable},
		{"sigaltstack", askStack(data)},
		{"prctl(PR_GET_TID_ADDRESS)", askClearTID(data)},
		{"prctl(PR_GET_PDEATHSIG)", askDeathSignal(data)},
		{"prctl(PR_GET_CHILD_SUBREAPER)", Sys(unix.SYS_PRCTL, unix.PR_GET_CHILD_SUBREAPER, data)},
		{"getitimer", Sys(unix.SYS_GETITIMER, 0, data)},
		{"timer_gettime", Sys(unix.SYS_TIMER_GETTIME, 0, data)},
		{"wait4", reapAny},
		{"exit", Sys(unix.SYS_EXIT, 0)},
		{"exit_group", Sys(unix.SYS_EXIT_GROUP, 0)},
		{"rt_sigreturn", Sys(sysRtSigreturn)},
	}
}

// decide returns what filters say of a call from the origin's code.
func (o *Origin) decide(all []filter.Program, c Call) (filter.Action, error) {
	ip := uint64(o.gadgets.Syscall) + uint64(len(syscallRet)) - 1 // behind "syscall"
	if c.Nr == sysRtSigreturn {
		ip = uint64(o.gadgets.Restorer) + uint64(len(restorers[0]))
	}
	return filter.Decide(all, filter.Call{Nr: int32(c.Nr), Arch: filter.ArchAMD64, IP: ip, Args: c.Args})
}

// permit makes sure that a stopped thread of the origin may make calls, and
// find back from each. The filters are read anew: a thread can add one at any
// time, and another thread can add one to all.
func (o *Origin) permit(tid int, calls ...Call) error {
	all, err := readFilters(tid)
	if err != nil || len(all) == 0 {
		return err
	}
	for _, c := range append(slices.Clone(calls), Sys(sysRtSigreturn)) {
		a, err := o.decide(all, c)
		if err != nil {
			return fmt.Errorf("filter of tid %d: %w", tid, err)
		}
		if !a.Permits() {
			return fmt.Errorf("call %d in tid %d: a filter %v: %w", c.Nr, tid, a, ErrFiltered)
		}
	}
	return nil
}

// readFilters reads the seccomp filters of a stopped tracee, the last first.
func readFilters(tid int) (all []filter.Program, err error) {
	for n := 0; ; n++ {
		raw, err := sys.SeccompFilter(tid, n)
		if err != nil {
			// The kernel refuses to tell of any process, before it looks whether
			// there is anything to tell (kernel/seccomp.c).
			if s, serr := procfs.ReadStatus(tid); serr == nil && s.Seccomp == 0 {
				return nil, nil
			}
			return nil, fmt.Errorf("filters of tid %d: %w", tid, err)
		}
		if raw == nil {
			return all, nil
		}
		p, err := filter.Parse(raw)
		if err != nil {
			return nil, fmt.Errorf("filter %d of tid %d: %w", n, tid, err)
		}
		all = append(all, p)
	}
}

// Filters stops each thread of a process for a moment, when the process has
// seccomp filters, and tells what these mean for pilot. Nothing is changed.
func Filters(pid int) (f Filtering, err error) {
	if !filtered(pid) {
		return f, nil
	}
	o, err := Open(pid)
	if err != nil {
		return f, err
	}
	defer o.Close()
	return o.surveyFilters()
}

// filtered reports whether a thread of the process has a seccomp filter.
func filtered(pid int) bool {
	tids, err := procfs.Tasks(pid)
	if err != nil {
		return false
	}
	for _, tid := range tids {
		if s, err := procfs.ReadTaskStatus(pid, tid); err == nil && s.Seccomp != 0 {
			return true
		}
	}
	return false
}

func (o *Origin) surveyFilters() (f Filtering, err error) {
	tids, err := procfs.Tasks(o.PID)
	if err != nil {
		return f, err
	}
	var first []filter.Program
	for i, tid := range tids {
		all, err := o.filtersOf(tid)
		if errors.Is(err, ErrGone) && tid != o.PID {
			continue
		}
		if err != nil {
			return f, err
		}
		if i == 0 {
			first = all
			if err := o.weigh(&f, all); err != nil {
				return f, err
			}
		} else if !slices.EqualFunc(all, first, slices.Equal) {
			f.Unlike = tid
			if err := o.weigh(&f, all); err != nil {
				return f, err
			}
		}
	}
	return f, nil
}

// filtersOf stops a thread and reads its filters.
func (o *Origin) filtersOf(tid int) (all []filter.Program, err error) {
	if err := o.hold(tid); err != nil {
		return nil, errors.Join(err, o.letGo(tid))
	}
	defer func() { err = errors.Join(err, o.letGo(tid)) }()
	return readFilters(tid)
}

// weigh adds what the filters of one thread mean.
func (o *Origin) weigh(f *Filtering, all []filter.Program) error {
	f.Supervised = f.Supervised || slices.ContainsFunc(all, filter.Program.Notifies)
	for _, c := range o.injected() {
		a, err := o.decide(all, c.Call)
		if err != nil {
			return err
		}
		if denied := fmt.Sprintf("%s: a filter %v", c.name, a); !a.Permits() && !slices.Contains(f.Denied, denied) {
			f.Denied = append(f.Denied, denied)
		}
	}
	return nil
}

// checkFilters makes sure, before the origin is touched, that no filter stands
// against what is to come.
func (o *Origin) checkFilters() error {
	if o.filtered = filtered(o.PID); !o.filtered {
		return nil
	}
	f, err := o.surveyFilters()
	switch {
	case err != nil:
		return err
	case len(f.Denied) > 0:
		return fmt.Errorf("%s: %w", f.Denied[0], ErrFiltered)
	case f.Unlike != 0:
		return fmt.Errorf("tid %d has other filters than pid %d: %w", f.Unlike, o.PID, ErrFiltered)
	case f.Supervised:
		return fmt.Errorf("a supervisor answers calls of pid %d: %w", o.PID, ErrFiltered)
	}
	return nil
}
