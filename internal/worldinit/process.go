//go:build linux

package worldinit

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Process is the agent's side of a world's init.
type Process struct {
	cmd  *exec.Cmd
	conn *net.UnixConn

	// Events tells what happens to the processes that commands start. It is
	// closed when the init ends. It must be read.
	Events chan Event
	answer chan Event

	mu     sync.Mutex // guards nextID
	nextID int
}

// Start makes the namespaces of a world, with its init inside, and builds the
// world's view as c says. confine, if not nil, gets the init's pid before it
// does anything: what it starts inherits the bounds.
func Start(c Config, confine func(pid int) error) (*Process, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	theirs, ours := os.NewFile(uintptr(fds[0]), "init"), os.NewFile(uintptr(fds[1]), "agent")
	defer theirs.Close()
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, err
	}
	all := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1<<32 - 1}}
	p := &Process{
		conn:   conn.(*net.UnixConn),
		Events: make(chan Event, 256),
		answer: make(chan Event, 1),
		cmd: &exec.Cmd{
			Path:       "/proc/self/exe",
			Args:       []string{Name, c.Label},
			Env:        []string{"PATH=" + os.Getenv("PATH"), "GOMAXPROCS=1"},
			Dir:        "/",
			Stderr:     os.Stderr,
			ExtraFiles: []*os.File{theirs},
			SysProcAttr: &syscall.SysProcAttr{
				Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS |
					unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
				UidMappings:                all,
				GidMappings:                all,
				GidMappingsEnableSetgroups: true,
				Setsid:                     true,
			},
		},
	}
	if err := p.cmd.Start(); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("start world init: %w", err)
	}
	go p.receive()
	if confine != nil {
		if err := confine(p.PID()); err != nil {
			return nil, errors.Join(fmt.Errorf("confine world init: %w", err), p.Kill(), p.Wait())
		}
	}
	if err := p.ask(request{Config: &c}); err != nil {
		return nil, errors.Join(fmt.Errorf("build world: %w", err), p.Kill(), p.Wait())
	}
	return p, nil
}

// PID is the init's process id in the agent's pid namespace.
func (p *Process) PID() int { return p.cmd.Process.Pid }

func (p *Process) receive() {
	defer close(p.Events)
	defer close(p.answer)
	buf := make([]byte, maxPacket)
	for {
		n, err := p.conn.Read(buf)
		if err != nil || n == 0 {
			return
		}
		var e Event
		if json.Unmarshal(buf[:n], &e) != nil {
			continue
		}
		switch {
		case e.Kind == "ready", e.Kind == "failed" && e.ID == 0:
			p.answer <- e
		default:
			p.Events <- e
		}
	}
}

// askTimeout bounds the init's work on one request.
const askTimeout = 20 * time.Second

// ask sends a request and waits for its outcome.
func (p *Process) ask(r request) error {
	if err := p.send(r, nil); err != nil {
		return err
	}
	select {
	case e, ok := <-p.answer:
		if !ok {
			return errors.New("world init ended")
		}
		if e.Err != "" {
			return errors.New(e.Err)
		}
		return nil
	case <-time.After(askTimeout):
		return errors.New("world init does not answer")
	}
}

func (p *Process) send(r request, files []*os.File) error {
	buf, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if len(buf) > maxPacket {
		return fmt.Errorf("request of %d bytes is too large", len(buf))
	}
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	_, _, err = p.conn.WriteMsgUnix(buf, oob, nil)
	return err
}

// SetClock fixes the world's clocks. It must be called once, before the first
// command and the first phantom.
func (p *Process) SetClock(monotonic, boottime time.Duration) error {
	if err := p.ask(request{Clock: &clock{monotonic, boottime}}); err != nil {
		return fmt.Errorf("set clock: %w", err)
	}
	return nil
}

// Command starts args in the world. Its stdout and stderr go to output. Events
// tell what becomes of it, under the returned id.
func (p *Process) Command(args, env []string, dir string, output *os.File) (id int, err error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nextID++
	return p.nextID, p.send(request{Start: &start{p.nextID, args, env, dir}}, []*os.File{null, output})
}

// KillPID kills a process by its number in the world.
func (p *Process) KillPID(pid int) error { return p.send(request{Kill: pid}, nil) }

// Kill ends the init, and with it every process of the world.
func (p *Process) Kill() error {
	err := p.cmd.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Wait collects the init. All other processes of the world must be reaped.
func (p *Process) Wait() error {
	err := p.cmd.Wait()
	_ = p.conn.Close()
	for range p.Events { // until the reader has ended
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil // killed, as it should
	}
	return err
}
