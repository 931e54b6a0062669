//go:build linux

package spawn

import (
	"errors"
	"fmt"
	"os"

	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// Terminal makes a pseudo-terminal in the world's own devpts. The master is for
// nobody in the world: by the slave they come to the one who holds it, and to no
// terminal of the host. The caller closes both.
func (w *World) Terminal() (master, slave *os.File, err error) {
	err = w.inside.Do(func() error {
		// Not by /dev/ptmx, which root of the world may have replaced. Nobody
		// can make or rename anything in a devpts.
		fd, err := unix.Open("/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return &os.PathError{Op: "open", Path: "/dev/pts/ptmx", Err: err}
		}
		master = os.NewFile(uintptr(fd), "master") // polled, so that reads can be ended
		peer, err := sys.PeerTerminal(sys.FD(fd))
		if err != nil {
			return err
		}
		slave = os.NewFile(uintptr(peer), "terminal")
		if err := auditTerminal(int(peer)); err != nil {
			return fmt.Errorf("%w: %w", ErrUnsealed, err)
		}
		return os.NewSyscallError("fchown", unix.Fchown(int(peer), w.root[0], w.root[1]))
	})
	if err != nil {
		for _, f := range []*os.File{master, slave} {
			if f != nil {
				err = errors.Join(err, f.Close())
			}
		}
		return nil, nil, fmt.Errorf("terminal of world %s: %w", w.Name, err)
	}
	return master, slave, nil
}

// auditTerminal makes sure that a terminal is of the devpts of the mounts that
// the calling thread has, which are the world's, and that this is not the host's.
func auditTerminal(fd int) error {
	var here, host unix.Stat_t
	var terminal unix.Stat_t
	if err := unix.Fstat(fd, &terminal); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if err := unix.Stat("/dev/pts", &here); err != nil {
		return &os.PathError{Op: "stat", Path: "/dev/pts", Err: err}
	}
	if terminal.Mode&unix.S_IFMT != unix.S_IFCHR || terminal.Dev != here.Dev {
		return errors.New("the terminal is not the world's")
	}
	// The agent's root is the host's; the calling thread has changed its own.
	if err := unix.Stat(fmt.Sprintf("/proc/%d/root/dev/pts", os.Getpid()), &host); err == nil && host.Dev == terminal.Dev {
		return errors.New("the terminal is the host's")
	}
	return nil
}
