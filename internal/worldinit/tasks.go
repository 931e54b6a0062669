//go:build linux

package worldinit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// A tracker follows every process that the world's commands start: by ptrace,
// which tells births, program changes and deaths on any kernel. Orphans are
// reaped, since this process is their init.
//
// It knows them by their numbers here, and tells of them by their own: in the
// world's pid namespace, which may be below this process's.
type tracker struct {
	send   func(Event)
	proc   *os.File    // /proc with the numbers here
	leader map[int]int // known processes, with their own numbers; other tracees are threads
}

func newTracker(send func(Event)) *tracker {
	return &tracker{send: send, leader: map[int]int{}}
}

// process returns the number here of a process that has the given one of its own.
func (t *tracker) process(own int) int {
	for pid, n := range t.leader {
		if n == own {
			return pid
		}
	}
	return 0
}

// read returns the content of a file in /proc/PID.
func (t *tracker) read(pid int, name string) ([]byte, error) {
	fd, err := unix.Openat(int(t.proc.Fd()), fmt.Sprintf("%d/%s", pid, name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("openat", err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	return io.ReadAll(f)
}

// status reads what /proc tells of a process, its own number included.
func (t *tracker) status(pid int) (s procfs.Status, own int, err error) {
	text, err := t.read(pid, "status")
	if err == nil {
		s, err = procfs.ParseStatus(text)
	}
	if err != nil || len(s.NSpid) == 0 {
		return s, pid, err
	}
	return s, s.NSpid[len(s.NSpid)-1], nil
}

const taskOptions = sys.OptFork | sys.OptVfork | sys.OptClone | sys.OptExec

// start runs the shim, binds it to the tracker, and lets it go on to the command.
func (s *server) start(c start, files []*os.File) (int, error) {
	if len(files) != 1 {
		return 0, fmt.Errorf("start needs 1 descriptor, has %d", len(files))
	}
	gateR, gateW, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer gateW.Close()
	defer gateR.Close()
	input := os.Stdin
	if c.Terminal {
		input = files[0]
	}
	// It is the child who follows this path, in the world's /proc.
	p, err := os.StartProcess(fmt.Sprintf("/proc/self/fd/%d", s.self.Fd()), []string{ExecName}, &os.ProcAttr{
		Env:   []string{},
		Dir:   "/",
		Files: []*os.File{input, files[0], files[0], gateR},
		Sys:   &syscall.SysProcAttr{Setsid: true, Setctty: c.Terminal}, // of descriptor 0
	})
	if err != nil {
		return 0, err
	}
	if err := sys.Seize(p.Pid, taskOptions); err != nil {
		return 0, err
	}
	_, own, err := s.tasks.status(p.Pid)
	if err != nil {
		return 0, err
	}
	s.tasks.leader[p.Pid] = own
	order, err := json.Marshal(shimOrder{Args: c.Args, Env: c.Env, Dir: c.Dir, Drop: s.drop})
	if err != nil {
		return 0, err
	}
	_, err = gateW.Write(order)
	return own, err
}

// reap handles every change of state there is. It never blocks.
func (t *tracker) reap() {
	for {
		pid, ws, err := sys.TryWait(-1)
		if err != nil || pid == 0 {
			return
		}
		t.change(pid, ws)
	}
}

func (t *tracker) change(pid int, ws syscall.WaitStatus) {
	switch {
	case ws.Exited() || ws.Signaled():
		if own := t.leader[pid]; own != 0 {
			delete(t.leader, pid)
			e := Event{Kind: "exit", PID: own, Code: ws.ExitStatus()}
			if ws.Signaled() {
				e.Code, e.Signal = 0, unix.SignalName(ws.Signal())
			}
			t.send(e)
		}
	case ws.Stopped():
		t.stopped(pid, ws)
	}
}

func (t *tracker) stopped(pid int, ws syscall.WaitStatus) {
	const eventStop = 128
	switch event := int(uint32(ws) >> 16); event {
	case 0:
		_ = sys.Cont(pid, ws.StopSignal())
		return
	case unix.PTRACE_EVENT_FORK, unix.PTRACE_EVENT_VFORK, unix.PTRACE_EVENT_CLONE:
		if child, err := sys.EventMsg(pid); err == nil {
			t.born(int(child), pid)
		}
	case unix.PTRACE_EVENT_EXEC:
		t.send(Event{Kind: "exec", PID: t.leader[pid], Args: t.cmdline(pid)})
	case eventStop:
		if sig := ws.StopSignal(); sig != syscall.SIGTRAP {
			// Job control: stay stopped, as it would untraced.
			_ = sys.Listen(pid)
			return
		}
	}
	_ = sys.Cont(pid, 0)
}

// born tells processes from threads: a thread has no directory in /proc's
// list of processes under its own thread group.
func (t *tracker) born(child, parent int) {
	status, own, err := t.status(child)
	if err == nil && status.Tgid != child {
		return
	}
	_, from, err := t.status(parent)
	if err != nil {
		from = t.leader[parent]
	}
	t.leader[child] = own
	t.send(Event{Kind: "fork", PID: own, Parent: from, Args: t.cmdline(child)})
}

func (t *tracker) cmdline(pid int) []string {
	raw, err := t.read(pid, "cmdline")
	if err != nil {
		return nil
	}
	var args []string
	for a := range bytes.SplitSeq(bytes.TrimSuffix(raw, []byte{0}), []byte{0}) {
		args = append(args, string(a))
	}
	return args
}
