//go:build linux

package spawn

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/seal"
	"github.com/pilotexec/pilot/internal/supervise"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/tracee"
	"golang.org/x/sys/unix"
)

// superviseCalls begins to answer the calls that the world's commands are
// stopped at. Those of phantoms are added as they are built.
func (w *World) superviseCalls(addresses []string) (err error) {
	var own []netip.Addr
	for _, text := range addresses {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return fmt.Errorf("address %q: %w", text, err)
		}
		own = append(own, p.Addr().Unmap())
	}
	w.calls, err = supervise.New(w.init.PID(), func(a netip.Addr) bool {
		if a.IsLoopback() {
			return true
		}
		for _, o := range own {
			if o == a.Unmap() {
				return true
			}
		}
		return false
	}, w.origin)
	if err != nil {
		return err
	}
	listener, err := w.init.Filter()
	if err != nil {
		return err
	}
	w.calls.Add(listener, "")
	return nil
}

// Delay makes the disks of a member slower by so much, from now on: what waits
// for them waits so much longer. Its phantoms must stop at [seal.Syncs].
func (w *World) Delay(member string, by time.Duration) { w.calls.Delay(member, by) }

// Fill makes the disks full that have the data of a member, or makes room there.
// Its phantoms must stop at [seal.Writes].
func (w *World) Fill(member string, full bool) {
	var data []string
	for _, m := range w.members {
		if m.Name == member && full {
			data = m.Data
		}
	}
	w.calls.Fill(member, data)
}

// origin returns the process that has a number where the members are, 0 for none.
func (w *World) origin(number int) int {
	if w.container == nil {
		return number
	}
	pids, _ := procfs.Processes()
	for _, pid := range pids {
		space, err := procfs.Namespace(pid, "pid")
		if err != nil || space != w.container["pid"] {
			continue
		}
		if s, err := procfs.ReadStatus(pid); err == nil && s.NSpid[len(s.NSpid)-1] == number {
			return pid
		}
	}
	return 0
}

// filterCalls puts the filter on a phantom that has one thread yet. The threads
// that are made later have it too.
func (w *World) filterCalls(ph *phantom) error {
	listener, err := installFilter(ph.lead, ph.pidfd, seal.Program(w.stops[ph.process.Member.Name]...))
	if err != nil {
		return err
	}
	w.calls.Add(listener, ph.process.Member.Name)
	return nil
}

// installFilter has a puppet put the filter on itself, and returns the listener.
func installFilter(p *tracee.Puppet, pidfd sys.FD, program []unix.SockFilter) (listener sys.FD, err error) {
	at, _ := p.Data()
	var buf bytes.Buffer
	// struct sock_fprog, then the instructions.
	header := binary.LittleEndian.AppendUint64(nil, uint64(len(program)))
	header = binary.LittleEndian.AppendUint64(header, uint64(at)+16)
	buf.Write(header)
	if err := binary.Write(&buf, binary.LittleEndian, program); err != nil {
		return -1, err
	}
	if err := p.Write(at, buf.Bytes()); err != nil {
		return -1, err
	}
	for _, flags := range sys.ListenerFlags {
		calls := []tracee.Call{tracee.Sys(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uint64(at))}
		if _, err := p.Batch(calls); err != nil {
			return -1, err
		}
		err := calls[0].Err()
		if errors.Is(err, unix.EINVAL) {
			continue
		}
		if errors.Is(err, unix.EBUSY) {
			return -1, errors.New("filter its calls: another program supervises them already by seccomp")
		}
		if err != nil {
			return -1, fmt.Errorf("filter its calls: %w", err)
		}
		if listener, err = sys.PidfdGetFD(pidfd, int(calls[0].Ret)); err != nil {
			return -1, err
		}
		return listener, p.Do(tracee.Sys(unix.SYS_CLOSE, uint64(calls[0].Ret)))
	}
	return -1, fmt.Errorf("filter its calls: %w", sys.ErrNotSupported)
}

// noCore keeps a phantom that crashes from starting the host's handler of core
// dumps. A limit of 1 means that to the kernel: handlers of crashes have it, so
// that they start no further ones, coredump_pipe in fs/coredump.c.
func noCore(p *tracee.Puppet) error {
	at, _ := p.Data()
	limit := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, 1), 1) // struct rlimit
	if err := p.Write(at, limit); err != nil {
		return err
	}
	return p.Do(tracee.Sys(unix.SYS_SETRLIMIT, unix.RLIMIT_CORE, uint64(at)))
}

// Attempts lists what processes of the world tried that would have left it.
// incomplete says what is missing in the list, or is empty.
func (w *World) Attempts(released time.Time) (list []model.Attempt, incomplete string) {
	return w.calls.Attempts(released)
}
