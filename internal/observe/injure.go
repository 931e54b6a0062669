//go:build linux

package observe

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Kill kills every process that does the work of a member now, and returns their
// ids as the world has them.
func (o *Watch) Kill(member string) (pids []int, err error) {
	phantoms, err := o.Signal(member, unix.SIGKILL)
	errs := []error{err}
	for _, p := range o.Processes() {
		if p.Member == member && !p.Phantom && p.Exit == nil {
			pids = append(pids, p.PID)
			errs = append(errs, o.world.Init().KillPID(p.PID))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return append(phantoms, pids...), nil
}

// Signal sends a signal to the phantoms of a member that live, and returns their
// ids as the world has them.
func (o *Watch) Signal(member string, sig unix.Signal) (pids []int, err error) {
	for _, ph := range o.world.Phantoms() {
		if ph.Member.Name != member {
			continue
		}
		err := unix.PidfdSendSignal(int(ph.PIDFD), sig, nil, 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return pids, fmt.Errorf("%s to %s: %w", unix.SignalName(sig), member, os.NewSyscallError("pidfd_send_signal", err))
		}
		pids = append(pids, ph.Member.PID)
	}
	return pids, nil
}
