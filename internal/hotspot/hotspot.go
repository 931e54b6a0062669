//go:build linux

// Package hotspot asks a Java virtual machine for the names of the code that it
// has compiled, by its own attach protocol: what jcmd PID Compiler.perfmap does.
//
// It is for phantoms only. The machine gets a signal, starts a thread for such
// questions, and makes a socket and a file in its /tmp.
package hotspot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
)

// ErrNoAnswer means that a machine does not answer questions.
var ErrNoAnswer = errors.New("the Java virtual machine does not answer")

// Is reports whether a process is a Java virtual machine of this kind.
func Is(pid int) bool {
	vmas, err := procfs.Maps(pid)
	if err != nil {
		return false
	}
	for _, v := range vmas {
		if strings.HasSuffix(v.Path, "/libjvm.so") {
			return true
		}
	}
	return false
}

// PerfMap has the machine write /tmp/perf-PID.map, as perf(1) reads it, with PID
// and path as the process has them.
//
// The protocol is that of src/hotspot/os/linux/attachListener_linux.cpp: a machine
// that gets SIGQUIT and finds a file .attach_pidPID of its user listens at
// .java_pidPID, and answers one request for each connection.
func PerfMap(ctx context.Context, pid int, pidfd sys.FD) error {
	status, err := procfs.ReadStatus(pid)
	if err != nil {
		return err
	}
	// Without a handler the signal ends it (-Xrs), or else it is not for this.
	if status.SigCgt&(1<<(quit-1)) == 0 {
		return fmt.Errorf("%w: it has no handler of SIGQUIT", ErrNoAnswer)
	}
	if args, err := procfs.Cmdline(pid); err != nil || strings.Contains(strings.Join(args, " "), "+DisableAttachMechanism") {
		return fmt.Errorf("%w: it was told so", ErrNoAnswer)
	}
	number := status.NSpid[len(status.NSpid)-1]
	tmp := fmt.Sprintf("/proc/%d/root/tmp/", pid)
	socket := fmt.Sprintf("%s.java_pid%d", tmp, number)
	if _, err := os.Stat(socket); err != nil {
		if err := wake(ctx, pidfd, fmt.Sprintf("%s.attach_pid%d", tmp, number), socket, status); err != nil {
			return err
		}
	}
	return ask(ctx, socket, "jcmd", "Compiler.perfmap", "", "")
}

// quit is SIGQUIT.
const quit = 3

// poll is how often the socket is looked for.
const poll = 10 * time.Millisecond

// wake has the machine listen.
func wake(ctx context.Context, pidfd sys.FD, sign, socket string, status procfs.Status) error {
	f, err := os.OpenFile(sign, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(sign)
	err = errors.Join(f.Chown(status.UIDs[1], status.GIDs[1]), f.Close())
	if err != nil {
		return err
	}
	if err := sys.PidfdSignal(pidfd, quit); err != nil {
		return err
	}
	for {
		if _, err := os.Stat(socket); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: it does not listen", ErrNoAnswer)
		case <-time.After(poll):
		}
	}
}

// ask makes one request: its version, a command and its arguments, three always,
// each ended by a zero. The answer is a status in a line, and then text.
func ask(ctx context.Context, socket string, words ...string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	if end, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(end)
	}
	if _, err := io.WriteString(conn, "1\x00"+strings.Join(words, "\x00")+"\x00"); err != nil {
		return err
	}
	answer, err := io.ReadAll(io.LimitReader(conn, 64<<10))
	if err != nil {
		return err
	}
	if code, text, _ := strings.Cut(string(answer), "\n"); code != "0" {
		return fmt.Errorf("%w: status %s: %.200s", ErrNoAnswer, code, text)
	}
	return nil
}
