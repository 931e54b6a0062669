//go:build linux

package observe

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/procfs"
)

// maxTitle bounds what is read of a command line.
const maxTitle = 4096

// titles adds what running processes have written over their command lines, as
// servers do (setproctitle). It is read in the world's own /proc, where they have
// the numbers that are known of them.
func (o *Watch) titles(processes []model.Process) {
	for i := range processes {
		p := &processes[i]
		if p.Phantom || p.Exit != nil || len(p.Args) == 0 {
			continue
		}
		if now := o.title(p.PID); now != "" && now != title(p.Args) {
			p.Title = now
		}
	}
}

func (o *Watch) title(pid int) string {
	f, err := os.Open(fmt.Sprintf("/proc/%d/root/proc/%d/cmdline", o.world.Init().PID(), pid))
	if err != nil {
		return "" // it may have ended just now
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxTitle))
	if err != nil {
		return ""
	}
	args, err := procfs.ParseStrings(text)
	if err != nil {
		return ""
	}
	return title(args)
}

// title is a command line in one line. What is written over arguments leaves
// blanks where they were longer.
func title(args []string) string {
	return strings.TrimSpace(strings.Join(args, " "))
}
