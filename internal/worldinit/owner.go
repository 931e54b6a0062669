//go:build linux

package worldinit

import (
	"os/exec"

	"github.com/pilotexec/pilot/internal/osthread"
	"github.com/pilotexec/pilot/internal/sys"
)

// startAs starts cmd so that the user namespace which it makes is owned by uid:
// the owner is the effective user of who calls clone(2), user_namespaces(7).
func startAs(cmd *exec.Cmd, uid int) error {
	t := osthread.New()
	defer t.Close() // the thread, with its changed user, ends
	return t.Do(func() error {
		if err := sys.ActAs(uid); err != nil {
			return err
		}
		return cmd.Start()
	})
}
