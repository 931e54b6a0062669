//go:build linux

package worldinit

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/seal"
	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

func init() {
	if len(os.Args) > 0 && (os.Args[0] == Name || os.Args[0] == ExecName) {
		// The main goroutine stays on the leader thread: the world's clock
		// offsets are those of the leader, and ptrace is bound to a thread.
		runtime.LockOSThread()
	}
}

// Reexec takes over when the process was executed as a part of a world, and
// returns otherwise. Call it first thing in main, or in TestMain.
func Reexec() {
	if len(os.Args) == 0 {
		return
	}
	switch os.Args[0] {
	case Name:
		err := serve()
		fmt.Fprintln(os.Stderr, "pilot: world init:", err)
		os.Exit(1)
	case ExecName:
		err := runShim()
		fmt.Fprintln(os.Stderr, "pilot: error: start in the world:", err)
		os.Exit(127)
	}
}

// socketFD is the descriptor of the agent's socket in the init process. Those of
// programs to be executed are not below selfFD.
const socketFD, selfFD = 3, 64

// Limits of a packet: its bytes, and its descriptors, of which the kernel takes
// at most 253 (SCM_MAX_FD, include/net/scm.h).
const (
	maxPacket = 256 << 10
	maxFiles  = 250
)

// ignored are signals that the init does not die of.
var ignored = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}

type server struct {
	conn   *net.UnixConn
	layers []layer // until the world is built
	binds  []layer // likewise
	drop   []int
	tasks  *tracker
	self   *os.File // the program
	proc   *os.File // /proc of our own pid namespace, which may not be the world's
	// offsets are those of the world's clock.
	offsets *os.File
}

type packet struct {
	req   request
	files []*os.File
}

func serve() error {
	// Children are born into a clock of their own; its offsets are set later.
	if err := unix.Unshare(unix.CLONE_NEWTIME); err != nil {
		return os.NewSyscallError("unshare time", err)
	}
	f := os.NewFile(socketFD, "agent")
	conn, err := net.FileConn(f)
	if err != nil {
		return err
	}
	_ = f.Close()
	s := &server{conn: conn.(*net.UnixConn)}
	if s.self, err = openSelf(); err != nil {
		return err
	}
	s.tasks = newTracker(s.send)

	packets := make(chan packet)
	go s.receive(packets)
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	signal.Ignore(ignored...)
	for {
		select {
		case p, ok := <-packets:
			if !ok {
				os.Exit(0) // the agent is gone, and the world with it
			}
			s.handle(p)
		case <-children:
			s.tasks.reap()
		}
	}
}

// openSelf opens this program, under a number that no descriptor has which a
// command is started with: it is executed by that number.
func openSelf() (*os.File, error) {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, selfFD)
	return os.NewFile(uintptr(fd), "program"), os.NewSyscallError("fcntl", err)
}

func (s *server) receive(out chan<- packet) {
	defer close(out)
	buf, oob := make([]byte, maxPacket), make([]byte, unix.CmsgSpace(4*maxFiles))
	for {
		n, oobn, _, _, err := s.conn.ReadMsgUnix(buf, oob)
		if err != nil || n == 0 {
			return
		}
		p := packet{files: received(oob[:oobn])}
		if p.req, err = parseRequest(buf[:n]); err != nil {
			return
		}
		out <- p
	}
}

func (s *server) send(e Event) {
	e.At = time.Now()
	buf, err := json.Marshal(e)
	if err == nil {
		_, err = s.conn.Write(buf)
	}
	if err != nil && errors.Is(err, syscall.EPIPE) {
		os.Exit(0)
	}
}

func (s *server) handle(p packet) {
	files := p.files
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	switch r := p.req; {
	case len(r.Layers) > 0:
		for i, f := range files[:min(len(files), len(r.Layers))] {
			l := layer{r.Layers[i], f}
			if r.Binds {
				s.binds = append(s.binds, l)
			} else {
				s.layers = append(s.layers, l)
			}
		}
		files = nil
	case r.Config != nil:
		s.drop = r.Config.DropCaps
		s.answer(s.build(*r.Config))
	case r.Numbers:
		s.answer(s.number(files))
	case r.Filter:
		s.filter()
	case r.Clock != nil:
		s.answer(setClock(s.offsets, *r.Clock))
	case r.Start != nil:
		pid, err := s.start(*r.Start, p.files)
		if err != nil {
			s.send(Event{Kind: "failed", ID: r.Start.ID, Err: err.Error()})
			return
		}
		s.send(Event{Kind: "started", ID: r.Start.ID, PID: pid, Args: r.Start.Args})
	case r.Kill > 0:
		if pid := s.tasks.process(r.Kill); pid > 0 {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}

func (s *server) build(c Config) (err error) {
	defer func() {
		for _, l := range append(s.layers, s.binds...) {
			_ = l.mount.Close()
		}
	}()
	if err := build(c, s.layers, s.binds); err != nil {
		return err
	}
	if s.proc, err = os.Open("/proc"); err != nil {
		return err
	}
	s.tasks.proc = s.proc
	// Opened here, since it belongs to root of the agent's namespace once nobody
	// may look into this process, if the program was executed there: startWithin.
	fd, err := unix.Openat(int(s.proc.Fd()), "self/timens_offsets", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("openat timens_offsets", err)
	}
	s.offsets = os.NewFile(uintptr(fd), "timens_offsets")
	return sealSelf()
}

// number takes the pid namespace in which commands are to be born, and the
// world's /proc.
func (s *server) number(files []*os.File) error {
	if len(files) != 2 {
		return fmt.Errorf("%d descriptors, not 2", len(files))
	}
	// It acts on this thread's children, which commands are.
	if err := unix.Setns(int(files[0].Fd()), unix.CLONE_NEWPID); err != nil {
		return os.NewSyscallError("setns", err)
	}
	return replaceProc(files[1])
}

// sealSelf gives this process, and all that it will start, what belongs to a
// world.
func sealSelf() error {
	// Nobody in the world may look into this process, which has every
	// capability there and the agent's socket.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl set_dumpable", err)
	}
	// No core dumps, see noCore in package spawn.
	return os.NewSyscallError("setrlimit", unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1, Max: 1}))
}

// filter puts the filter of calls on this process and all that it will start,
// and gives its listener away. Nobody here may keep it: a call would wait for an
// answer even when the agent is dead.
func (s *server) filter() {
	listener, err := sys.InstallFilter(seal.Program())
	if err != nil {
		s.answer(err)
		return
	}
	buf, err := json.Marshal(Event{Kind: "ready", At: time.Now()})
	if err == nil {
		_, _, err = s.conn.WriteMsgUnix(buf, unix.UnixRights(listener), nil)
	}
	if err != nil {
		os.Exit(1)
	}
	_ = unix.Close(listener)
}

func (s *server) answer(err error) {
	e := Event{Kind: "ready"}
	if err != nil {
		e = Event{Kind: "failed", Err: err.Error()}
	}
	s.send(e)
}

// setClock writes time_namespaces(7) offsets. It works once, while nobody has
// entered the namespace.
func setClock(offsets *os.File, c clock) error {
	text := ""
	for _, o := range []struct {
		name string
		d    time.Duration
	}{{"monotonic", c.Monotonic}, {"boottime", c.Boottime}} {
		ts := unix.NsecToTimespec(int64(o.d))
		text += fmt.Sprintf("%s %d %d\n", o.name, ts.Sec, ts.Nsec)
	}
	defer offsets.Close()
	_, err := offsets.WriteString(text)
	return err
}
