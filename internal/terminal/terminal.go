//go:build linux

// Package terminal hands the user's terminal over to a shell in a world, and
// gives it back as it was: whatever happens, if this process learns of it.
package terminal

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/live"
	"github.com/pilotexec/pilot/internal/sys"
)

// deadly are the signals that end a Go program, and can be caught, but for SIGINT,
// SIGTERM and SIGHUP: these cancel the run, which gives the terminal back.
var deadly = []os.Signal{syscall.SIGQUIT, syscall.SIGABRT}

// A User is the terminal at stdin. The zero value is ready. It implements
// [live.Terminal].
type User struct {
	mu      sync.Mutex
	file    *os.File  // nil while it is not handed over
	before  *sys.Mode // of it
	signals chan os.Signal
}

// Check says why nobody can type to a shell at stdin, or nothing.
func (u *User) Check() error {
	if _, err := sys.TerminalMode(sys.FD(syscall.Stdin)); err != nil {
		return errors.New("stdin is not a terminal")
	}
	return nil
}

// Attach makes the terminal raw.
func (u *User) Attach(resize func(live.Size)) (live.Session, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.file != nil {
		return nil, errors.New("the terminal is in use")
	}
	// A description of our own: stdin's is shared with the user's shell, which
	// would find it non-blocking. So reads can be ended.
	f, err := os.OpenFile("/proc/self/fd/0", os.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open the terminal: %w", err)
	}
	var before *sys.Mode
	err = control(f, func(fd sys.FD) (err error) {
		if before, err = sys.TerminalMode(fd); err != nil {
			return err
		}
		return sys.SetTerminalMode(fd, before.Raw())
	})
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	u.file, u.before, u.signals = f, before, make(chan os.Signal, 4)
	signal.Notify(u.signals, append([]os.Signal{syscall.SIGWINCH}, deadly...)...)
	passSize(f, resize)
	go u.heed(f, u.signals, resize)
	return session{u, f}, nil
}

// passSize tells how large the terminal is.
func passSize(f *os.File, resize func(live.Size)) {
	_ = control(f, func(fd sys.FD) error {
		rows, cols, err := sys.TerminalSize(fd)
		if err == nil {
			resize(live.Size{Rows: rows, Cols: cols})
		}
		return err
	})
}

// heed passes on the size of the terminal, and restores it before this process
// dies of a signal.
func (u *User) heed(f *os.File, signals <-chan os.Signal, resize func(live.Size)) {
	for s := range signals {
		if s == syscall.SIGWINCH {
			passSize(f, resize)
			continue
		}
		_ = u.Restore()
		signal.Reset(s)
		_ = syscall.Kill(os.Getpid(), s.(syscall.Signal))
		return
	}
}

// Resized does nothing: the terminal itself tells.
func (u *User) Resized(live.Size) {}

// Restore gives the terminal back, if it was handed over.
func (u *User) Restore() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.file == nil {
		return nil
	}
	signal.Stop(u.signals)
	close(u.signals)
	err := control(u.file, func(fd sys.FD) error { return sys.SetTerminalMode(fd, u.before) })
	_ = u.file.SetDeadline(time.Now())
	err = errors.Join(err, u.file.Close())
	u.file = nil
	return err
}

// A session is the terminal as long as it is handed over.
type session struct {
	user *User
	file *os.File
}

func (s session) Read(b []byte) (int, error)  { return s.file.Read(b) }
func (s session) Write(b []byte) (int, error) { return s.file.Write(b) }

// Detach gives the terminal back. Reads end.
func (s session) Detach() error { return s.user.Restore() }

// control calls fn with the descriptor of f, which stays in the poller's hands.
func control(f *os.File, fn func(sys.FD) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := raw.Control(func(fd uintptr) { err = fn(sys.FD(fd)) }); cerr != nil {
		return cerr
	}
	return err
}
