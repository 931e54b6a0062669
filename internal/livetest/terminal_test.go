//go:build linux

package livetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/testenv"
)

// A terminal is one that pilot is started at.
type terminal struct {
	master, slave *os.File
	before        sys.Mode
	cmd           *exec.Cmd

	reading sync.WaitGroup

	mu    sync.Mutex // guards what follows
	shown []byte
	seen  int // how much of it was expected
}

// at starts pilot at a new terminal.
func (s *scene) at(t *testing.T, args ...string) *terminal {
	t.Helper()
	m, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{master: m}
	term.with(t, func(fd sys.FD) error {
		peer, err := sys.PeerTerminal(fd)
		term.slave = os.NewFile(uintptr(peer), "slave")
		return err
	})
	term.before = term.mode(t)
	term.resize(t, 33, 101)
	term.cmd = s.command(args...)
	term.cmd.Stdin, term.cmd.Stdout, term.cmd.Stderr = term.slave, term.slave, term.slave
	term.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := s.space.Do(term.cmd.Start); err != nil {
		t.Fatal(err)
	}
	term.listen()
	t.Cleanup(func() {
		if term.cmd.ProcessState == nil {
			_ = term.cmd.Process.Kill()
			_ = term.cmd.Wait()
		}
		term.deaf()
		_ = m.Close()
		_ = term.slave.Close()
	})
	return term
}

func (term *terminal) with(t *testing.T, fn func(sys.FD) error) {
	t.Helper()
	raw, err := term.master.SyscallConn()
	if err == nil {
		if cerr := raw.Control(func(fd uintptr) { err = fn(sys.FD(fd)) }); err == nil {
			err = cerr
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (term *terminal) resize(t *testing.T, rows, cols uint16) {
	t.Helper()
	term.with(t, func(fd sys.FD) error { return sys.SetTerminalSize(fd, rows, cols) })
}

// listen takes what is shown, until deaf is called. Then whoever shows something
// waits before long.
func (term *terminal) listen() {
	_ = term.master.SetReadDeadline(time.Time{})
	term.reading.Go(term.read)
}

func (term *terminal) deaf() {
	_ = term.master.SetReadDeadline(time.Now())
	term.reading.Wait()
}

func (term *terminal) read() {
	buf := make([]byte, 4096)
	for {
		n, err := term.master.Read(buf)
		term.mu.Lock()
		term.shown = append(term.shown, buf[:n]...)
		term.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// mode is how the terminal treats what is typed.
func (term *terminal) mode(t *testing.T) sys.Mode {
	t.Helper()
	m, err := sys.TerminalMode(sys.FD(term.slave.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return *m
}

// restored wants the terminal to be as it was.
func (term *terminal) restored(t *testing.T) {
	t.Helper()
	if got := term.mode(t); got != term.before {
		t.Errorf("the terminal's mode was %+v and is %+v", term.before, got)
	}
}

// raw reports whether pilot has the terminal.
func (term *terminal) raw(t *testing.T) bool { return term.mode(t) != term.before }

func (term *terminal) enter(t *testing.T, text string) {
	t.Helper()
	if _, err := term.master.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// expect waits until something is shown that was not expected yet.
func (term *terminal) expect(t *testing.T, pattern string) {
	t.Helper()
	re := regexp.MustCompile(pattern)
	found := func() bool {
		term.mu.Lock()
		defer term.mu.Unlock()
		at := re.FindIndex(term.shown[term.seen:])
		if at != nil {
			term.seen += at[1]
		}
		return at != nil
	}
	for deadline := time.Now().Add(2 * testenv.Patience); !found(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%q is not shown in\n%s", pattern, term.text())
		}
	}
}

func (term *terminal) text() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return strings.ReplaceAll(string(term.shown), "\r", "")
}

// prompt is that of a shell in a world.
const prompt = `\[pilot world [a-z0-9]{6}\] # `

// do enters a line at the prompt, and waits for what it shows and the next prompt.
func (term *terminal) do(t *testing.T, line, shows string) {
	t.Helper()
	term.enter(t, line+"\n")
	term.expect(t, shows)
	term.expect(t, prompt)
}

// exits wants pilot to end with a status.
func (term *terminal) exits(t *testing.T, want int) {
	t.Helper()
	ended(t, term.cmd)
	if got := term.cmd.ProcessState.ExitCode(); got != want {
		t.Errorf("exit status %d (%v), want %d\n%s", got, term.cmd.ProcessState, want, term.text())
	}
	term.restored(t)
}

// sealed wants no process of a world to have the terminal, and pilot to have it.
func (term *terminal) sealed(t *testing.T) {
	t.Helper()
	want, err := term.slave.Stat()
	if err != nil {
		t.Fatal(err)
	}
	ours, err := procfs.Namespaces(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	inWorlds, outside := 0, 0
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		pid, _ := strconv.Atoi(strings.Split(link, "/")[2])
		spaces, err := procfs.Namespaces(pid)
		if err != nil {
			continue // it has ended
		}
		apart := spaces["pid"] != ours["pid"]
		if apart {
			inWorlds++
		}
		if fi, err := os.Stat(link); err != nil || !os.SameFile(fi, want) {
			continue
		}
		if outside++; apart {
			t.Errorf("%s of a world is the user's terminal", link)
		}
	}
	if inWorlds == 0 || outside == 0 {
		t.Errorf("looked at %d descriptors in worlds, and found the terminal %d times", inWorlds, outside)
	}
}
