//go:build linux

package worldinit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"syscall"

	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// A tracker follows every process that the world's commands start: by ptrace,
// which tells births, program changes and deaths on any kernel. Orphans are
// reaped, since this process is their init.
type tracker struct {
	send   func(Event)
	leader map[int]bool // known processes; other tracees are threads
}

func newTracker(send func(Event)) *tracker {
	return &tracker{send: send, leader: map[int]bool{}}
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
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return 0, err
	}
	defer self.Close()
	p, err := os.StartProcess(fmt.Sprintf("/proc/self/fd/%d", self.Fd()), []string{execName}, &os.ProcAttr{
		Env:   []string{},
		Dir:   "/",
		Files: []*os.File{os.Stdin, files[0], files[0], gateR},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, err
	}
	if err := sys.Seize(p.Pid, taskOptions); err != nil {
		return 0, err
	}
	s.tasks.leader[p.Pid] = true
	order, err := json.Marshal(shimOrder{Args: c.Args, Env: c.Env, Dir: c.Dir, Drop: s.drop})
	if err != nil {
		return 0, err
	}
	_, err = gateW.Write(order)
	return p.Pid, err
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
		if t.leader[pid] {
			delete(t.leader, pid)
			e := Event{Kind: "exit", PID: pid, Code: ws.ExitStatus()}
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
		t.send(Event{Kind: "exec", PID: pid, Args: cmdline(pid)})
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
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", child))
	if err == nil && !bytes.Contains(status, fmt.Appendf(nil, "\nTgid:\t%d\n", child)) {
		return
	}
	t.leader[child] = true
	t.send(Event{Kind: "fork", PID: child, Parent: parent, Args: cmdline(child)})
}

func cmdline(pid int) []string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil
	}
	var args []string
	for a := range bytes.SplitSeq(bytes.TrimSuffix(raw, []byte{0}), []byte{0}) {
		args = append(args, string(a))
	}
	return args
}
