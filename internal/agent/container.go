//go:build linux

package agent

import (
	"fmt"
	"os"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/plan"
	"github.com/pilotexec/pilot/internal/procfs"
)

// containerOf reads in which namespaces of processes and users a process is, if
// these are not the agent's.
func containerOf(pid int) (c plan.Container, err error) {
	theirs, err := procfs.Namespaces(pid)
	if err != nil {
		return c, err
	}
	ours, err := procfs.Namespaces(os.Getpid())
	if err != nil || theirs["pid"] == ours["pid"] && theirs["user"] == ours["user"] {
		return c, err
	}
	return plan.Container{PID: theirs["pid"], User: theirs["user"]}, nil
}

// rootless reports whether a process's user namespace has no user or group 0.
func rootless(pid int) (bool, error) {
	for _, name := range []string{"uid_map", "gid_map"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err != nil {
			return false, err
		}
		has := false
		for line := range strings.Lines(string(text)) {
			// See user_namespaces(7): the first number inside, that outside, how many.
			first, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			has = has || first == "0"
		}
		if !has {
			return true, nil
		}
	}
	return false, nil
}

// outside returns the agent that has started this one, when it has joined the
// members' mounts, and 0 otherwise.
func (e Engine) outside() int {
	if e.mounts == 0 {
		return 0
	}
	return os.Getppid()
}

// checkMembers decides across the members whether one world can be made for all,
// and tries it.
func (e Engine) checkMembers(all []facts) (refusals []model.Refusal, host []model.Refusal) {
	running := runningFacts(all)
	uid, refusals := plan.WorldOwner(running)
	refusals = append(refusals, plan.Containers(running)...)
	for _, f := range running {
		if f.Rootless {
			return refusals, nil // it is told of each
		}
	}
	if len(refusals) == 0 {
		within := plan.Within(running, uid)
		lender := 0
		if within != 0 { // or nothing is locked
			lender = e.outside()
		}
		host = checkWorld(uid, within, lender)
	}
	return refusals, host
}
