//go:build linux

package agent

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/pilotexec/pilot/internal/live"
	"golang.org/x/sys/unix"
)

// A run that is done by a process in the members' namespaces is steered there:
// requests follow the order, and answers come with the news. What is typed to a
// shell, and what it shows, goes over a socket of its own.

// terminalFD is that socket in the process inside, if there is a terminal.
const terminalFD = 4

// What the process inside wants of the user's terminal, in its news.
const (
	terminalAttach = "attach"
	terminalDetach = "detach"
)

// A relay is the end of the process that the user speaks to.
type relay struct {
	steer   *live.Steer
	answers chan live.Answer
	over    chan struct{}
	wg      sync.WaitGroup

	mu     sync.Mutex // one asks at a time
	give   *json.Encoder
	broken bool

	// Of the terminal. They belong to who hears the news.
	wire    *net.UnixConn // nil when there is none
	session live.Session
	shown   chan struct{} // all that was said to it
}

// relayPatience is how long an answer from inside may take, and stuckTerminal how
// long the user's terminal may take no output when it is to be given back.
const relayPatience, stuckTerminal = 10 * time.Second, 3 * time.Second

var errRelay = errors.New("the process in the members' namespaces does not answer")

// newRelay readies cmd, the process inside, to be steered, and to be typed to.
func newRelay(steer *live.Steer, cmd *exec.Cmd) (l *relay, started func(), err error) {
	l = &relay{steer: steer, answers: make(chan live.Answer, 1), over: make(chan struct{})}
	if steer.Terminal() == nil {
		return l, func() {}, nil
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs := os.NewFile(uintptr(fds[0]), "terminal")
	if l.wire, err = connOf(fds[1]); err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, theirs) // terminalFD
	return l, func() { _ = theirs.Close() }, nil
}

func connOf(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "terminal")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}

// begin passes on what users ask for, from now on.
func (l *relay) begin(give *json.Encoder) {
	l.give = give
	l.wg.Go(func() { l.steer.Pass(l.ask) }) // which may ask at once, and the answer is news
}

// end lets nobody wait any longer, and gives the terminal back.
func (l *relay) end() {
	close(l.over)
	l.wg.Wait()
	l.steer.Pass(nil)
	if l.wire != nil {
		_ = l.wire.Close()
		l.detach()
	}
}

func (l *relay) ask(r live.Request) live.Answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken {
		return live.Answer{Error: errRelay.Error()}
	}
	if err := l.give.Encode(r); err != nil {
		return live.Answer{Error: err.Error()}
	}
	select {
	case a := <-l.answers:
		return a
	case <-l.over:
	case <-time.After(relayPatience):
	}
	l.broken = true // a late answer would be taken for the next one's
	return live.Answer{Error: errRelay.Error()}
}

// hear takes from the news what is for the relay.
func (l *relay) hear(n news) {
	if n.Answer != nil {
		select {
		case l.answers <- *n.Answer:
		default:
		}
	}
	switch {
	case l.wire == nil:
	case n.Terminal == terminalAttach:
		l.attach()
	case n.Terminal == terminalDetach:
		l.detach()
	}
}

// attach takes the user's terminal. When that fails the process inside finds its
// end of the socket closed: as if the line was dropped.
func (l *relay) attach() {
	if l.session != nil {
		return
	}
	sizes := make(chan live.Size, 16) // asking waits for news, which we are to hear
	session, err := l.steer.Terminal().Attach(func(s live.Size) {
		select {
		case sizes <- s:
		default: // nobody resizes that fast
		}
	})
	if err != nil {
		_ = l.wire.Close()
		return
	}
	l.session, l.shown = session, make(chan struct{})
	go func() { // ends with the session
		_, _ = io.Copy(l.wire, session)
		_ = l.wire.CloseWrite()
	}()
	go func() {
		defer close(l.shown)
		_, _ = io.Copy(session, l.wire)
	}()
	l.wg.Go(func() {
		for {
			select {
			case s := <-sizes:
				l.ask(live.Request{Verb: live.VerbResize, Size: s})
			case <-l.over:
				return
			}
		}
	})
}

// detach gives it back when all is shown.
func (l *relay) detach() {
	if l.session == nil {
		return
	}
	select {
	case <-l.shown: // the process inside has ended its side of the socket, or itself
	case <-time.After(stuckTerminal):
	}
	_ = l.session.Detach()
	l.session = nil
}

// A remote is the user's terminal for the process inside.
type remote struct {
	wire *net.UnixConn
	tell func(news)

	mu     sync.Mutex // guards what follows
	resize func(live.Size)
}

// Attach has the process outside take the terminal.
func (r *remote) Attach(resize func(live.Size)) (live.Session, error) {
	r.mu.Lock()
	r.resize = resize
	r.mu.Unlock()
	r.tell(news{Terminal: terminalAttach})
	return r, nil
}

// Resized passes on what the process outside was told.
func (r *remote) Resized(s live.Size) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.resize != nil {
		r.resize(s)
	}
}

func (r *remote) Read(b []byte) (int, error)  { return r.wire.Read(b) }
func (r *remote) Write(b []byte) (int, error) { return r.wire.Write(b) }

// Detach has the terminal given back.
func (r *remote) Detach() error {
	r.mu.Lock()
	r.resize = nil
	r.mu.Unlock()
	err := r.wire.CloseWrite()
	_ = r.wire.SetDeadline(time.Now())
	r.tell(news{Terminal: terminalDetach})
	return err
}

// steerInside does what follows the order, until its end, which is the agent's.
func steerInside(in *json.Decoder, steer *live.Steer, tell func(news)) {
	for {
		var r live.Request
		if err := in.Decode(&r); err != nil {
			return
		}
		a := steer.Do(r)
		tell(news{Answer: &a})
	}
}
