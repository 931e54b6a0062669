//go:build linux

package capture

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/kobj"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/tracee"
	"golang.org/x/sys/unix"
)

// NeedsBytes reports whether the bytes of a mapping must be copied in the
// pause: those that fork shares with production and that are not in a file
// with a name of its own in a data directory, and those that fork leaves out.
func NeedsBytes(v procfs.VMA, data []string) bool {
	switch {
	case v.Has("dc") && !v.Has("io") && !v.Has("pf"):
		return true
	case v.Has("wf") && !v.Has("dp"):
		return true
	case !v.Shared || !v.Has("mw"):
		return false
	}
	return !Within(v.Path, data) || v.Deleted
}

// Within reports whether path lies in one of the directories, or is one of them.
func Within(path string, dirs []string) bool {
	for _, d := range dirs {
		if path == d || strings.HasPrefix(path, strings.TrimSuffix(d, "/")+"/") {
			return true
		}
	}
	return false
}

// readPiece is how much is read before the limit of the pause is looked at:
// about a millisecond's worth.
const readPiece = 4 << 20

// readRegions copies the mappings that need it, within the limit.
func (p *Process) readRegions(limit tracee.Limit) error {
	var total uint64
	for _, v := range p.Maps {
		if !NeedsBytes(v, p.Member.Data) {
			continue
		}
		size := v.End - v.Start
		if total += size; total > kobj.MaxMemory {
			return fmt.Errorf("mapping %#x %s: shared memory of more than %d MiB", v.Start, v.Path, kobj.MaxMemory>>20)
		}
		data := make([]byte, size)
		for at := uint64(0); at < size; at += readPiece {
			if err := limit.Err(); err != nil {
				return fmt.Errorf("mapping %s: %w", v.Path, err)
			}
			if err := p.Origin.Read(tracee.Addr(v.Start+at), data[at:min(at+readPiece, size)]); err != nil {
				return fmt.Errorf("mapping %s: %w", v.Path, err)
			}
		}
		p.Regions = append(p.Regions, Region{v, data})
	}
	return nil
}

// checkMaps replaces the list of mappings by the seed's, which is that of the
// pause, and makes sure that no region appeared whose bytes were not read.
func (p *Process) checkMaps() error {
	now, err := procfs.Smaps(p.Seed.PID)
	if err != nil {
		return err
	}
	have := map[uint64]bool{}
	for _, r := range p.Regions {
		have[r.VMA.Start] = true
	}
	for _, v := range now {
		if v.Shared && NeedsBytes(v, p.Member.Data) && !have[v.Start] {
			return fmt.Errorf("mapping %#x %s appeared just before the pause; try again", v.Start, v.Path)
		}
	}
	p.Maps = now
	return nil
}

// surveyTimers reads the process's timers. The helper asks, since they belong
// to the process and not to a thread.
func (p *Process) surveyTimers() error {
	p.surveyed, _ = sys.Clocks()
	var buf [32]byte
	at := p.Origin.Data()
	ask := func(call tracee.Call) (interval, left time.Duration, err error) {
		if _, err := p.Origin.Helper(call); err != nil {
			return 0, 0, err
		}
		if err := p.Origin.Read(at, buf[:]); err != nil {
			return 0, 0, err
		}
		le := binary.LittleEndian
		sec := func(i int) time.Duration { return time.Duration(le.Uint64(buf[i:])) * time.Second }
		sub := func(i int) time.Duration { return time.Duration(le.Uint64(buf[i:])) }
		unit := time.Nanosecond
		if call.Nr == unix.SYS_GETITIMER {
			unit = time.Microsecond // struct timeval
		}
		return sec(0) + sub(8)*unit, sec(16) + sub(24)*unit, nil
	}
	for which := range p.Itimers {
		interval, left, err := ask(tracee.Sys(unix.SYS_GETITIMER, uint64(which), uint64(at)))
		if err != nil {
			return fmt.Errorf("getitimer: %w", err)
		}
		p.Itimers[which] = Itimer{interval, left}
	}
	timers, err := procfs.ReadTimers(p.Member.PID)
	if err != nil {
		return err
	}
	for _, t := range timers {
		interval, left, err := ask(tracee.Sys(unix.SYS_TIMER_GETTIME, uint64(t.ID), uint64(at)))
		if err != nil {
			return fmt.Errorf("timer_gettime %d: %w", t.ID, err)
		}
		p.Timers = append(p.Timers, Timer{t, interval, left})
	}
	return nil
}

// ageTimers turns what was left of the timers at the survey into what was left
// when the monotonic clock showed cut.
func (p *Process) ageTimers(cut time.Duration) {
	ago := cut - p.surveyed
	real := &p.Itimers[unix.ITIMER_REAL] // the others count processor time
	real.Left = aged(real.Left, real.Interval, ago)
	for i := range p.Timers {
		t := &p.Timers[i]
		t.Left = aged(t.Left, t.Interval, ago)
	}
}

// aged returns what is left after a while. 0 means that the timer is not armed.
func aged(left, interval, ago time.Duration) time.Duration {
	switch {
	case left == 0:
		return 0
	case left > ago:
		return left - ago
	case interval == 0:
		return 0 // fired since
	}
	return interval - (ago-left)%interval
}
