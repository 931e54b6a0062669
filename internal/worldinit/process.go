//go:build linux

package worldinit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// A Process is the agent's side of a world's init.
type Process struct {
	cmd  *exec.Cmd
	self *os.Process // cmd's, or who was made of it: see startWithin
	// ended tells of the end of both.
	ended chan error
	conn  *net.UnixConn
	talk  talk
	// upper has the upper layer of each of layers, by its number.
	upper  *os.File
	layers []string

	// Events tells what happens to the processes that commands start. It is
	// closed when the init ends. It must be read.
	Events chan Event
	answer chan answer

	mu     sync.Mutex // guards nextID
	nextID int

	// Bare are mounts that the world sees as the host has them, read-only: what
	// is bound there can be connected to.
	Bare []string
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
	// What we were started with by others must not come along.
	if err := sys.KeepFromChildren(); err != nil {
		return nil, err
	}
	view, err := newView(c)
	if err != nil {
		return nil, fmt.Errorf("prepare world: %w", err)
	}
	defer view.close()
	if err := view.addBinds(c.Binds); err != nil {
		return nil, fmt.Errorf("prepare world: %w", err)
	}
	// /proc/1/exe leads root of the world to pilot's program, by its mount.
	self, err := sys.OpenFrozen("/proc/self/exe")
	if err != nil {
		_ = view.upper.Close()
		return nil, fmt.Errorf("open pilot's program: %w", err)
	}
	defer self.Close()
	program, err := unix.FcntlInt(uintptr(self), unix.F_DUPFD_CLOEXEC, selfFD)
	if err != nil {
		_ = view.upper.Close()
		return nil, os.NewSyscallError("fcntl", err)
	}
	defer unix.Close(program)
	p := &Process{
		conn:   conn.(*net.UnixConn),
		Events: make(chan Event, 256),
		answer: make(chan answer, 1),
		Bare:   view.bare,
		upper:  view.upper, layers: view.paths,
	}
	p.cmd = initCommand(sys.FD(program), c.Label, theirs, &p.talk)
	if err := p.start(c); err != nil {
		_ = conn.Close()
		_ = view.upper.Close()
		return nil, fmt.Errorf("start world init: %w", err)
	}
	go p.receive()
	if confine != nil {
		err = confine(p.PID())
	}
	if err == nil {
		err = p.sendLayers(view.layers, false)
	}
	if err == nil {
		err = p.sendLayers(view.binds, true)
	}
	if err == nil {
		_, err = p.ask(request{Config: &c})
	}
	if err != nil {
		err = errors.Join(err, p.Kill(), p.Wait())
		return nil, fmt.Errorf("build world: %w %s", err, p.talk.text)
	}
	return p, nil
}

func (p *Process) start(c Config) (err error) {
	if c.Within != 0 {
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{}}
		if p.self, err = startWithin(p.cmd, c); err == nil {
			p.collect() // a container ends when all in it were collected
		}
		return err
	}
	if err := startAs(p.cmd, c.Owner); err != nil {
		return err
	}
	p.self = p.cmd.Process
	return nil
}

// initCommand is the world's init in new namespaces. Its output goes to a pipe:
// /proc/1/fd would lead from the world to a terminal of ours.
func initCommand(self sys.FD, label string, socket *os.File, talk io.Writer) *exec.Cmd {
	all := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1<<32 - 1}}
	return &exec.Cmd{
		Path:       fmt.Sprintf("/proc/self/fd/%d", self),
		Args:       []string{Name, label},
		Env:        []string{"PATH=" + os.Getenv("PATH"), "GOMAXPROCS=1"},
		Dir:        "/",
		Stdout:     talk,
		Stderr:     talk,
		ExtraFiles: []*os.File{socket},
		SysProcAttr: &syscall.SysProcAttr{
			Cloneflags:                 newSpaces,
			UidMappings:                all,
			GidMappings:                all,
			GidMappingsEnableSetgroups: true,
			// Another owner than root would not keep its capabilities
			// inside, over exec.
			Credential: &syscall.Credential{},
			Setsid:     true,
		},
	}
}

// talk keeps the first bytes of what the init says, which is normally nothing.
// It is complete when the init has been waited for.
type talk struct{ text []byte }

const maxTalk = 4 << 10

func (t *talk) Write(b []byte) (int, error) {
	t.text = append(t.text, b[:min(len(b), maxTalk-len(t.text))]...)
	return len(b), nil
}

func (p *Process) sendLayers(layers []layer, binds bool) error {
	for part := range slices.Chunk(layers, maxFiles) {
		r := request{Binds: binds}
		var mounts []*os.File
		for _, l := range part {
			r.Layers = append(r.Layers, l.path)
			mounts = append(mounts, l.mount)
		}
		if err := p.send(r, mounts); err != nil {
			return err
		}
	}
	return nil
}

// PID is the init's process id in the agent's pid namespace.
func (p *Process) PID() int { return p.self.Pid }

// Number makes this a world whose processes have numbers of their own: those of
// the pid namespace space, which is a child of the init's, and of which proc is
// the file system that is to be /proc.
func (p *Process) Number(space, proc *os.File) error {
	if _, err := p.ask(request{Numbers: true}, space, proc); err != nil {
		return fmt.Errorf("number processes: %w", err)
	}
	return nil
}

// Filter puts the filter of package seal on the init and on all commands, and
// returns the listener by which their calls are heard of. From then on somebody
// must answer them.
func (p *Process) Filter() (sys.FD, error) {
	a, err := p.ask(request{Filter: true})
	if err == nil && len(a.files) != 1 {
		err = fmt.Errorf("world init sent %d descriptors", len(a.files))
	}
	if err != nil {
		return -1, fmt.Errorf("filter calls: %w", err)
	}
	defer a.files[0].Close()
	fd, err := unix.FcntlInt(a.files[0].Fd(), unix.F_DUPFD_CLOEXEC, 3)
	return sys.FD(fd), os.NewSyscallError("fcntl", err)
}

// An answer is the outcome of a request, with what came along.
type answer struct {
	Event
	files []*os.File
}

func (p *Process) receive() {
	defer close(p.Events)
	defer close(p.answer)
	buf, oob := make([]byte, maxPacket), make([]byte, unix.CmsgSpace(4))
	for {
		n, oobn, _, _, err := p.conn.ReadMsgUnix(buf, oob)
		if err != nil || n == 0 {
			return
		}
		e, err := parseEvent(buf[:n])
		if err != nil {
			continue
		}
		switch {
		case e.Kind == "ready", e.Kind == "failed" && e.ID == 0:
			select {
			case p.answer <- answer{e, received(oob[:oobn])}:
			default: // nobody asked
			}
		default:
			p.Events <- e
		}
	}
}

// askTimeout bounds the init's work on one request.
const askTimeout = 20 * time.Second

// ask sends a request and waits for its outcome.
func (p *Process) ask(r request, files ...*os.File) (a answer, err error) {
	if err := p.send(r, files); err != nil {
		return a, err
	}
	select {
	case a, ok := <-p.answer:
		if !ok {
			return a, errors.New("world init ended")
		}
		if a.Err != "" {
			return a, errors.New(a.Err)
		}
		return a, nil
	case <-time.After(askTimeout):
		return a, errors.New("world init does not answer")
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
	if _, err := p.ask(request{Clock: &clock{monotonic, boottime}}); err != nil {
		return fmt.Errorf("set clock: %w", err)
	}
	return nil
}

// Command starts args in the world. Its stdout and stderr go to output. Events
// tell what becomes of it, under the returned id.
func (p *Process) Command(args, env []string, dir string, output *os.File) (id int, err error) {
	return p.begin(start{Args: args, Env: env, Dir: dir}, output)
}

// Shell is Command for one with a terminal, which must be the world's: whoever
// has it can be typed to, and can do with it what its master's owner must bear.
func (p *Process) Shell(args, env []string, dir string, terminal *os.File) (id int, err error) {
	return p.begin(start{Args: args, Env: env, Dir: dir, Terminal: true}, terminal)
}

func (p *Process) begin(s start, output *os.File) (id int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nextID++
	s.ID = p.nextID
	return s.ID, p.send(request{Start: &s}, []*os.File{output})
}

// KillPID kills a process by its number in the world.
func (p *Process) KillPID(pid int) error { return p.send(request{Kill: pid}, nil) }

// Kill ends the init, and with it every process of the world.
func (p *Process) Kill() error {
	err := p.self.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// waitTimeout bounds the wait for the end of an init. It is over in milliseconds,
// or something is in the world's pid namespace that nobody reaps.
const waitTimeout = 30 * time.Second

// collect begins to wait for the init's end.
func (p *Process) collect() {
	p.ended = make(chan error, 1)
	go func() {
		if p.self != p.cmd.Process {
			_, _ = p.self.Wait()
		}
		p.ended <- p.cmd.Wait()
	}()
}

// Wait collects the init. All other processes of the world must be reaped.
func (p *Process) Wait() error {
	if p.ended == nil {
		p.collect()
	}
	var err error
	select {
	case err = <-p.ended:
	case <-time.After(waitTimeout):
		err = fmt.Errorf("world init, pid %d, does not end", p.PID())
	}
	_ = p.conn.Close()
	_ = p.upper.Close()
	for range p.Events { // until the reader has ended
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil // killed, as it should
	}
	return err
}
