//go:build linux

package observe

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/spawn"
)

// effort is what the threads of a process have done so far.
type effort struct {
	at      time.Time
	threads map[int]procfs.Schedstat
}

// BeginVitals begins the window in which it is seen how phantoms fare.
func (o *Watch) BeginVitals() {
	begun := map[int]effort{}
	for _, ph := range o.world.Phantoms() {
		if e, err := look(ph.HostPID); err == nil {
			begun[ph.HostPID] = e
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.begun = begun
}

// EndVitals ends it, and returns the addresses on which anything in the world
// takes connections.
func (o *Watch) EndVitals() (listening []string, err error) {
	sockets, err := procfs.NetTCP(o.world.Init().PID())
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	begun := o.begun
	o.mu.Unlock()
	for _, ph := range o.world.Phantoms() {
		before, ok := begun[ph.HostPID]
		if !ok {
			continue
		}
		v, err := vitals(ph, before, sockets)
		if gone(err) {
			continue // its end is told
		}
		if err != nil {
			return nil, fmt.Errorf("vitals of %s: %w", ph.Member.Name, err)
		}
		o.mu.Lock()
		if i := slices.IndexFunc(o.processes, func(p *model.Process) bool { return p.Phantom && p.PID == ph.Member.PID }); i >= 0 && o.processes[i].Exit == nil {
			o.processes[i].Vitals = v
		}
		o.mu.Unlock()
	}
	for _, s := range sockets {
		if s.State == procfs.Listen {
			listening = append(listening, s.Local.String())
		}
	}
	slices.Sort(listening)
	return slices.Compact(listening), nil
}

func look(pid int) (e effort, err error) {
	e = effort{at: time.Now(), threads: map[int]procfs.Schedstat{}}
	tids, err := procfs.Tasks(pid)
	for _, tid := range tids {
		if s, err := procfs.ReadTaskSchedstat(pid, tid); err == nil {
			e.threads[tid] = s
		}
	}
	return e, err
}

func vitals(ph spawn.Phantom, before effort, sockets []procfs.InetSocket) (*model.Vitals, error) {
	after, err := look(ph.HostPID)
	if err != nil {
		return nil, err
	}
	status, err := procfs.ReadStatus(ph.HostPID)
	if err != nil {
		return nil, err
	}
	v := &model.Vitals{State: status.State, Window: after.at.Sub(before.at), Threads: status.Threads, Resident: status.Resident}
	for tid, s := range after.threads {
		was := before.threads[tid] // nothing, for a new one
		v.CPU += s.CPU - was.CPU
		v.Waited += s.Waited - was.Waited
		v.Slices += int64(s.Slices - was.Slices)
	}
	own, err := socketsOf(ph.HostPID)
	if err != nil {
		return nil, err
	}
	for _, s := range sockets {
		switch {
		case !own[s.Inode]:
		case s.State == procfs.Listen:
			v.Listening = append(v.Listening, s.Local.String())
		case s.State == procfs.Established:
			v.Connections++
		}
	}
	slices.Sort(v.Listening)
	v.Listening = slices.Compact(v.Listening)
	return v, nil
}

// socketsOf returns the inodes of a process's sockets.
func socketsOf(pid int) (map[uint64]bool, error) {
	fds, err := procfs.FDs(pid)
	if err != nil {
		return nil, err
	}
	own := map[uint64]bool{}
	for _, fd := range fds {
		link, _ := procfs.FDLink(pid, fd) // it may be closed by now
		if number, ok := strings.CutPrefix(link, "socket:["); ok {
			if ino, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64); err == nil {
				own[ino] = true
			}
		}
	}
	return own, nil
}

func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}
