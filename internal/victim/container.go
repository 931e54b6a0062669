//go:build linux

package victim

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// HoldName is how a test binary is executed again to be number 1 of a container
// that has other victims in it.
const HoldName = "pilot-victim-hold"

// A Held is a victim that number 1 starts.
type Held struct {
	Identity
	Kind, Dir string
	Output    string // path of its stdout
}

// Hold starts the victims that os.Args[1] encodes, and reports to the file
// os.Args[2] as a victim does, for ever. As number 1 it is the parent of every
// orphan, and notes any child that is not its own.
func Hold() {
	fmt.Fprintln(os.Stderr, "hold:", holdAll(os.Args[1], os.Args[2]))
	os.Exit(1)
}

func holdAll(order, path string) error {
	var all []Held
	if err := json.Unmarshal([]byte(order), &all); err != nil {
		return err
	}
	if err := settle(all[0].MountProc); err != nil {
		return err
	}
	log, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	heard := listen()
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	for _, h := range all {
		h.MountProc = false
		id, err := json.Marshal(h.Identity)
		if err != nil {
			return err
		}
		output, err := os.OpenFile(h.Output, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		p, err := os.StartProcess(exe, []string{LaunchName, string(id), h.Kind, h.Dir}, &os.ProcAttr{
			Dir: "/", Env: os.Environ(), Files: []*os.File{os.Stdin, output, output},
		})
		if err == nil {
			err = p.Release() // or it keeps a descriptor of it
		}
		if err := errors.Join(err, output.Close()); err != nil {
			return err
		}
	}
	for i := 0; ; i++ {
		line := fmt.Sprintf("ok %d \n", i)
		var ws unix.WaitStatus
		// None of its own ever ends; and in a world it has none.
		if pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil); pid > 0 || err != nil && !errors.Is(err, unix.ECHILD) {
			line = fmt.Sprintf("bad %d: child %d ended with %#x, %v\n", i, pid, ws, err)
		} else if n := heard.Load(); n != 0 {
			line = fmt.Sprintf("bad %d: heard %d times of a child\n", i, n)
		}
		if _, err := log.WriteString(line); err != nil {
			return err
		}
		time.Sleep(period)
	}
}

// settle readies a container that this is the first process of.
func settle(mountProc bool) error {
	if mountProc {
		if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
			return err
		}
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

// listen counts the SIGCHLD that this process gets.
func listen() *atomic.Int64 {
	n, all := new(atomic.Int64), make(chan os.Signal, 64)
	signal.Notify(all, unix.SIGCHLD)
	go func() {
		for range all {
			n.Add(1)
		}
	}()
	return n
}

// inside looks at the numbers by which a process of a container knows itself and
// others, and for children that it does not have.
func inside(dir string) (step, error) {
	was, err := numbers()
	if err != nil {
		return nil, err
	}
	heard := listen()
	return func() (string, error) {
		now, err := numbers()
		if err != nil || now != was {
			return "", fmt.Errorf("sees %q (%v), saw %q", now, err, was)
		}
		if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); !errors.Is(err, unix.ECHILD) {
			return "", fmt.Errorf("has child %d, %w", pid, err)
		}
		if n := heard.Load(); n != 0 {
			return "", fmt.Errorf("heard %d times of a child", n)
		}
		// A signal to itself, by number; and one that shows who there is.
		if err := unix.Tgkill(os.Getpid(), unix.Gettid(), 0); err != nil {
			return "", fmt.Errorf("tgkill: %w", err)
		}
		if err := unix.Kill(1, 0); err != nil && !errors.Is(err, unix.EPERM) {
			return "", fmt.Errorf("number 1: %w", err)
		}
		return "", os.WriteFile(filepath.Join(dir, "new"), []byte(was), 0o600)
	}, nil
}

// numbers are how the first thread of this process and its files in /proc are
// called, and that each name leads to it.
func numbers() (string, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pid, tid := os.Getpid(), unix.Gettid()
	link, err := os.Readlink("/proc/self")
	if err != nil {
		return "", err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "", err
	}
	seen := fmt.Sprintf("pid %d tid %d uid %d", pid, tid, os.Getuid())
	if pid == 1 { // all others have another parent in a world
		seen += fmt.Sprintf(" ppid %d", os.Getppid())
	}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch key {
		case "Name", "Pid", "NSpid":
			seen += " " + key + " " + strings.Join(strings.Fields(value), " ")
		}
	}
	if link != strconv.Itoa(pid) {
		return "", fmt.Errorf("/proc/self is %s of %d", link, pid)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d/task/%d/comm", pid, tid)); err != nil {
		return "", err
	}
	return seen, nil
}
