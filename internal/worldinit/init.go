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

	"golang.org/x/sys/unix"
)

func init() {
	if len(os.Args) > 0 && (os.Args[0] == Name || os.Args[0] == execName) {
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
	case execName:
		err := runShim()
		fmt.Fprintln(os.Stderr, "pilot: error: start in the world:", err)
		os.Exit(127)
	}
}

// socketFD is the descriptor of the agent's socket in the init process.
const socketFD = 3

// firstPID is where process numbers of the world begin, so that its own
// processes stay clear of the phantoms' numbers while these are made.
const maxPacket = 256 << 10

type server struct {
	conn  *net.UnixConn
	drop  []int
	tasks *tracker
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
	s.tasks = newTracker(s.send)

	packets := make(chan packet)
	go s.receive(packets)
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
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

func (s *server) receive(out chan<- packet) {
	defer close(out)
	buf, oob := make([]byte, maxPacket), make([]byte, 256)
	for {
		n, oobn, _, _, err := s.conn.ReadMsgUnix(buf, oob)
		if err != nil || n == 0 {
			return
		}
		var p packet
		for _, fd := range passed(oob[:oobn]) {
			unix.CloseOnExec(fd)
			p.files = append(p.files, os.NewFile(uintptr(fd), "passed"))
		}
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
	defer func() {
		for _, f := range p.files {
			_ = f.Close()
		}
	}()
	switch r := p.req; {
	case r.Config != nil:
		s.drop = r.Config.DropCaps
		s.answer(build(*r.Config))
	case r.Clock != nil:
		s.answer(setClock(*r.Clock))
	case r.Start != nil:
		pid, err := s.start(*r.Start, p.files)
		if err != nil {
			s.send(Event{Kind: "failed", ID: r.Start.ID, Err: err.Error()})
			return
		}
		s.send(Event{Kind: "started", ID: r.Start.ID, PID: pid, Args: r.Start.Args})
	case r.Kill > 0:
		_ = unix.Kill(r.Kill, unix.SIGKILL)
	}
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
func setClock(c clock) error {
	text := ""
	for _, o := range []struct {
		name string
		d    time.Duration
	}{{"monotonic", c.Monotonic}, {"boottime", c.Boottime}} {
		ts := unix.NsecToTimespec(int64(o.d))
		text += fmt.Sprintf("%s %d %d\n", o.name, ts.Sec, ts.Nsec)
	}
	return os.WriteFile("/proc/self/timens_offsets", []byte(text), 0)
}
