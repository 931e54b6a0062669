//go:build linux

package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"sync"
	"syscall"

	"github.com/pilotexec/pilot/internal/live"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// Names under which the binary is executed again: to join namespaces, and when
// it has.
const (
	enterName  = "pilot-agent-enter"
	insideName = "pilot-agent-inside"
)

// newsFD is where the process inside tells its news.
const newsFD = 3

func init() {
	if len(os.Args) > 0 && os.Args[0] == enterName {
		runtime.LockOSThread() // namespaces belong to threads; execve keeps the caller's
	}
}

// Reexec takes over when the process was executed to run in other namespaces,
// and returns otherwise. Call it first thing in main, or in TestMain.
func Reexec() {
	if len(os.Args) == 0 {
		return
	}
	switch os.Args[0] {
	case enterName:
		err := enter(os.Args[1:])
		_ = json.NewEncoder(os.NewFile(newsFD, "news")).Encode(news{Err: fmt.Sprintf("enter the members' namespaces: %v", err)})
		os.Exit(1)
	case insideName:
		os.Exit(serveInside())
	}
}

// enter joins the mounts, the network, the IPC namespace and the host name of
// process args[0], in a private copy of the mounts in which /proc is the host's
// and the run's directory args[2] is at args[3].
func enter(args []string) error {
	if len(args) != 4 {
		return errors.New("malformed call")
	}
	pid, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	proc, err := detached("/proc")
	if err != nil {
		return err
	}
	work := -1
	if args[2] != "" {
		if work, err = detached(args[2]); err != nil {
			return err
		}
	}
	if err := sys.Enter(pid, unix.CLONE_NEWNS|unix.CLONE_NEWNET|unix.CLONE_NEWIPC|unix.CLONE_NEWUTS); err != nil {
		return err
	}
	if err := ownMounts(); err != nil {
		return err
	}
	if err := attach(proc, "/proc"); err != nil {
		return err
	}
	if work >= 0 {
		if err := attach(work, args[3]); err != nil {
			return err
		}
	}
	// The process may have been another one when it was entered.
	spaces, err := procfs.Namespaces(pid)
	if err != nil {
		return err
	}
	if want, err := strconv.ParseUint(args[1], 10, 64); err != nil || spaces["mnt"] != want {
		return fmt.Errorf("pid %d has other mounts than before", pid)
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	return os.NewSyscallError("exec", unix.Exec("/proc/self/exe", []string{insideName}, os.Environ()))
}

// ownMounts gives the calling thread a copy of its mounts.
//
// By unshare(2) alone a copy of the mounts of a user's container would be locked,
// each to those below it, since the copy belongs to another user namespace: no
// part of it could be copied again (see worldinit.Config). One that open_tree(2)
// makes is as locked as the original. So that becomes the root of the other.
func ownMounts() error {
	tree, err := detached("/")
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	// What is mounted from now on must not be seen by production.
	private := unix.MountAttr{Propagation: unix.MS_PRIVATE}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &private); err != nil {
		return os.NewSyscallError("make mounts private", err)
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return os.NewSyscallError("make mounts private", err)
	}
	const anywhere = "/proc"
	if err := attach(tree, anywhere); err != nil {
		return err
	}
	if err := unix.Chdir(anywhere); err != nil {
		return err
	}
	// The old root comes to lie over the new one, pivot_root(2), "pivot_root(".", ".")".
	if err := unix.PivotRoot(".", "."); err != nil {
		return os.NewSyscallError("pivot_root", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return os.NewSyscallError("umount", err)
	}
	return os.NewSyscallError("chdir", unix.Chdir("/"))
}

// detached clones the mounts at path. Nobody sees them before they are attached.
func detached(path string) (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return -1, &os.PathError{Op: "open_tree", Path: path, Err: err}
	}
	return fd, nil
}

func attach(fd int, path string) error {
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return &os.PathError{Op: "move_mount", Path: path, Err: err}
	}
	return nil
}

// serveInside does the order that comes over stdin. It stops when the agent
// asks for it, or has died.
func serveInside() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	encoder := json.NewEncoder(os.NewFile(newsFD, "news"))
	var telling sync.Mutex // several tell
	tell := func(n news) error {
		telling.Lock()
		defer telling.Unlock()
		return encoder.Encode(n)
	}
	in := json.NewDecoder(os.Stdin)
	var o order
	if err := in.Decode(&o); err != nil {
		_ = tell(news{Err: "read order: " + err.Error()})
		return 1
	}
	steer := &live.Steer{}
	if o.Typed {
		wire, err := connOf(terminalFD)
		if err != nil {
			_ = tell(news{Err: "take the terminal: " + err.Error()})
			return 1
		}
		steer.SetTerminal(&remote{wire: wire, tell: func(n news) { _ = tell(n) }})
	}
	go func() {
		steerInside(in, steer, func(n news) { _ = tell(n) })
		stop()
	}()
	unix.CloseOnExec(newsFD)
	o.Spec.Env = o.Env
	last := Engine{mounts: o.Mounts}.do(live.With(ctx, steer), o, func(n news) {
		if n.Phase != "" {
			steer.Phase(n.Phase, n.Text)
		}
		_ = tell(n)
	})
	if err := tell(last); err != nil {
		return 1
	}
	return 0
}

func (e Engine) do(ctx context.Context, o order, tell func(news)) (n news) {
	var err error
	if o.Dir == "" {
		n.Diagnoses, err = e.Doctor(ctx, o.Spec)
	} else {
		err = e.Series(ctx, o.Spec, o.Series, o.Dir,
			func(phase, text string) { tell(news{Phase: phase, Text: text}) },
			func(r *model.Report) { tell(news{Report: r}) })
	}
	var refused *model.RefusedError
	switch {
	case errors.As(err, &refused):
		n.Refusals = refused.Refusals
	case err != nil:
		n.Err = err.Error()
	}
	return n
}
