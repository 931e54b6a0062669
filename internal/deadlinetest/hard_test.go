//go:build linux

package deadlinetest

import (
	"strings"
	"testing"
	"time"
)

const usualLimit = 250 * time.Millisecond

// TestPrivUninterruptible has a member whose lead thread is in uninterruptible
// sleep most of the time: the parent in vfork(2). Short sleeps are waited for,
// also in the pause.
func TestPrivUninterruptible(t *testing.T) {
	s := newScene(t)
	other := s.start(t, 2, "threads", 10)
	v := s.start(t, 2, "vfork", 30)
	all := s.take(t, 10, usualLimit)
	sums := sum(all, other, v)
	other.clean(t)
	v.unharmed(t)
	sums.within(t, usualLimit)
	if sums.worked == 0 {
		t.Error("no snapshot worked")
	}
	row(t, "a thread in uninterruptible sleep, 30 ms at a time", usualLimit, sums, "")
}

// TestPrivUninterruptibleLong has one that sleeps longer than the pause may be.
// All members stand until the deadline, and not longer.
func TestPrivUninterruptibleLong(t *testing.T) {
	s := newScene(t)
	other := s.start(t, 2, "threads", 10)
	v := s.start(t, 2, "vfork", 700)
	const limit = 100 * time.Millisecond
	all := s.take(t, 4, limit)
	sums := sum(all, other, v)
	other.clean(t)
	v.unharmed(t)
	sums.within(t, limit)
	for _, o := range all {
		if o.Err != "" && !strings.Contains(o.Err, "uninterruptible sleep") {
			t.Errorf("unclear: %s", o.Err)
		}
	}
	row(t, "a thread in uninterruptible sleep, 700 ms at a time", limit, sums, "")
}

// TestPrivThreadStorm has a member in which every thread makes the next one.
func TestPrivThreadStorm(t *testing.T) {
	s := newScene(t)
	v := s.start(t, 2, "storm")
	sums := sum(s.take(t, 10, usualLimit), v)
	v.clean(t)
	sums.within(t, usualLimit)
	if sums.worked == 0 {
		t.Error("no snapshot worked")
	}
	row(t, "threads that make threads", usualLimit, sums, "%d made", v.work())
}

// TestPrivExec has a member that becomes another program every few milliseconds:
// while it is prepared, stopped, or undone.
func TestPrivExec(t *testing.T) {
	s := newScene(t)
	other := s.start(t, 2, "threads", 10)
	v := s.start(t, 2, "exec", 7)
	all := s.take(t, 40, usualLimit)
	sums := sum(all, other) // the other's heart tells: an exec is a gap of its own
	other.clean(t)
	v.unharmed(t)
	sums.within(t, usualLimit)
	at := v.generation()
	waitFor(t, "the next program", func() bool { return v.generation() > at+2 })
	for _, o := range all {
		if o.Err != "" && !strings.Contains(o.Err, "another program") && !strings.Contains(o.Err, "find gadgets") {
			t.Errorf("unclear: %s", o.Err)
		}
	}
	row(t, "a member that execs every 7 ms", usualLimit, sums, "%d programs", v.generation())
}

// TestPrivExit has members that end while they are forked.
func TestPrivExit(t *testing.T) {
	s := newScene(t)
	other := s.start(t, 2, "threads", 10)
	var all []outcome
	var longest time.Duration
	for i := range 25 {
		v := s.start(t, 2, "exit", 2000*(i+1))
		all = append(all, s.take(t, 1, usualLimit)...)
		longest = max(longest, other.worst())
		if err := v.cmd.Wait(); err != nil {
			t.Errorf("it should have ended well: %v", err)
		}
		s.victims = []*victim{other}
	}
	sums := sum(all)
	sums.stopped = longest
	other.clean(t)
	sums.within(t, usualLimit)
	for _, o := range all {
		if o.Err != "" && !strings.Contains(o.Err, "ended while the snapshot was taken") && !strings.Contains(o.Err, "about to end") {
			t.Errorf("unclear: %s", o.Err)
		}
	}
	row(t, "a member that exits", usualLimit, sums, "")
}

// TestPrivBigFork has a member whose clone takes longer than the pause may be.
func TestPrivBigFork(t *testing.T) {
	s := newScene(t)
	v := s.start(t, 2, "big", 400)
	const limit = 5 * time.Millisecond
	sums := sum(s.take(t, 3, limit), v)
	v.clean(t)
	if sums.worked > 0 {
		t.Log("this machine forks 400 MiB within the limit")
	}
	row(t, "400 MiB to clone", limit, sums, "the kernel holds page faults until a clone is done")
}
