//go:build linux

// Package supervise hears of the system calls that the processes of a world are
// stopped at (package seal), records what would have left the world, and lets
// the calls fail or go on. It runs in the agent and never touches production.
package supervise

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/seal"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/unwind"
	"golang.org/x/sys/unix"
)

// maxAttempts bounds how many different attempts are kept.
const maxAttempts = 1000

// A Supervisor answers the calls of one world.
type Supervisor struct {
	init  int // the world's init, in the agent's pid namespace
	local func(netip.Addr) bool
	// origin returns who of production has a number that a call of the world
	// names, in the agent's pid namespace; 0 for nobody.
	origin func(number int) (pid int)
	names  unwind.Names

	stopR, stopW sys.FD // a pipe, which is readable once the world ends
	wg           sync.WaitGroup

	mu       sync.Mutex // guards what follows
	attempts []*attempt
	lost     int             // attempts that were not kept
	disks    map[string]disk // of members that were made to fail
}

type attempt struct {
	model.Attempt
	at time.Time
}

// New returns a supervisor of the world with the given init. local tells the
// addresses that lead to the world itself. origin tells which of production's
// processes is called by a number where the members are; nil stands for one that
// is called so here.
func New(init int, local func(netip.Addr) bool, origin func(number int) (pid int)) (*Supervisor, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	if origin == nil {
		origin = func(number int) int { return number }
	}
	return &Supervisor{init: init, local: local, origin: origin, stopR: sys.FD(p[0]), stopW: sys.FD(p[1])}, nil
}

// Add begins to answer the calls that come by listener, which it takes over.
// member names whose they are, and is empty for commands.
func (s *Supervisor) Add(listener sys.FD, member string) {
	s.wg.Go(func() {
		defer listener.Close()
		s.serve(listener, member)
	})
}

func (s *Supervisor) serve(listener sys.FD, member string) {
	var late sync.WaitGroup // answers that use the listener
	defer late.Wait()
	fds := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}, {Fd: int32(s.stopR), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		if fds[1].Revents != 0 || fds[0].Revents&unix.POLLIN == 0 && fds[0].Revents != 0 {
			return // the world ends, or nobody is left who has the filter
		}
		if fds[0].Revents == 0 {
			continue
		}
		n, err := sys.ReceiveNotification(listener)
		if errors.Is(err, sys.ErrNoNotification) {
			continue
		}
		if err != nil {
			return
		}
		rule := ruleOf(n)
		var errno unix.Errno
		switch rule.Purpose {
		case seal.Sync:
			if by := s.disk(member).delay; by > 0 {
				late.Go(func() {
					time.Sleep(by)
					_ = sys.AnswerNotification(listener, n.ID, 0)
				})
				continue
			}
		case seal.Write:
			if full := s.disk(member).full; len(full) > 0 && noRoom(n, rule, full) {
				errno = unix.ENOSPC
			}
		default:
			errno = s.judge(listener, n, rule, member)
		}
		_ = sys.AnswerNotification(listener, n.ID, errno)
	}
}

// ruleOf finds out why a call was stopped at.
func ruleOf(n sys.Notification) seal.Rule {
	rule, known := seal.For(uint32(n.Nr))
	if !known || n.Arch != unix.AUDIT_ARCH_X86_64 {
		return seal.Rule{Name: fmt.Sprintf("call %d of another instruction set", n.Nr), Errno: unix.ENOSYS}
	}
	return rule
}

// judge records a call if it would leave the world, and says how it is to fail.
// 0 lets it be made.
func (s *Supervisor) judge(listener sys.FD, n sys.Notification, rule seal.Rule, member string) unix.Errno {
	a := model.Attempt{Op: rule.Name, Member: member}
	switch rule.Purpose {
	case seal.Refuse:
		a.By, a.Answer = "seccomp", unix.ErrnoName(rule.Errno)
		a.Target = s.describe(rule.Name, n)
	case seal.Connect:
		a.Target, a.By = s.destination(n, rule)
	case seal.Signal:
		a.Target, a.By = s.stranger(n, rule)
	}
	if a.By == "" {
		return 0
	}
	who(&a, int(n.TID))
	if !s.count(a) {
		// The thread waits, so its stack is the one of this call.
		a.Stack, _ = unwind.Stack(int(n.TID), &s.names)
		if sys.NotificationValid(listener, n.ID) {
			s.record(a)
		}
	}
	return rule.Errno
}

// who fills in whose call it was.
func who(a *model.Attempt, tid int) {
	status, err := procfs.ReadStatus(tid)
	if err != nil || len(status.NSpid) == 0 {
		return
	}
	a.TID = status.NSpid[len(status.NSpid)-1]
	a.PID = a.TID
	if lead, err := procfs.ReadStatus(status.Tgid); err == nil && len(lead.NSpid) > 0 {
		a.PID = lead.NSpid[len(lead.NSpid)-1]
	}
	args, _ := procfs.Cmdline(status.Tgid)
	if a.Process = strings.Join(args, " "); a.Process == "" {
		a.Process = status.Name
	}
}

// count counts an attempt that is known already, and tells whether it is.
func (s *Supervisor) count(a model.Attempt) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, have := range s.attempts {
		if have.PID == a.PID && have.Op == a.Op && have.Target == a.Target {
			have.Count++
			return true
		}
	}
	return false
}

func (s *Supervisor) record(a model.Attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.attempts) == maxAttempts {
		s.lost++
		return
	}
	a.Count = 1
	s.attempts = append(s.attempts, &attempt{a, time.Now()})
}

// Attempts lists what was tried so far. Times count from released.
func (s *Supervisor) Attempts(released time.Time) (out []model.Attempt, incomplete string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.attempts {
		a.At = max(0, a.at.Sub(released))
		out = append(out, a.Attempt)
	}
	if s.lost > 0 {
		incomplete = fmt.Sprintf("%d attempts to leave the world were not recorded: there were more than %d different ones", s.lost, maxAttempts)
	}
	return slices.Clip(out), incomplete
}

// Close ends the supervision. The world's processes must have ended: a call
// that waits for an answer fails otherwise.
func (s *Supervisor) Close() {
	_ = s.stopW.Close()
	s.wg.Wait()
	_ = s.stopR.Close()
}
