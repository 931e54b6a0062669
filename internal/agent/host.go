//go:build linux

package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/pilotexec/pilot/internal/plan"
	"github.com/pilotexec/pilot/internal/procfs"
)

// readHost reads what decides whether pilot can work here. What is not there
// restricts nothing.
func readHost() (f plan.HostFacts) {
	if s, err := procfs.ReadStatus(os.Getpid()); err == nil {
		f.Capabilities = s.CapEff
	}
	f.PtraceScope, _ = number("/proc/sys/kernel/yama/ptrace_scope")
	f.MaxNamespaces = map[string]int{}
	for _, kind := range []string{"user", "mnt", "pid", "net", "ipc", "uts", "time"} {
		if n, ok := number("/proc/sys/user/max_" + kind + "_namespaces"); ok {
			f.MaxNamespaces[kind] = n
		}
	}
	mounts, _ := procfs.Mountinfo(os.Getpid())
	for _, m := range mounts {
		if m.Point == "/proc" && m.FSType == "proc" {
			f.HidePID = hidePID(m.SuperOptions)
		}
	}
	if n, ok := number("/proc/sys/kernel/unprivileged_userns_clone"); ok && n == 0 {
		f.Restrictions = append(f.Restrictions, "kernel.unprivileged_userns_clone = 0")
	}
	if n, _ := number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"); n != 0 {
		f.Restrictions = append(f.Restrictions, fmt.Sprintf("kernel.apparmor_restrict_unprivileged_userns = %d", n))
	}
	_, err := os.Stat("/dev/net/tun")
	f.NoTun = errors.Is(err, fs.ErrNotExist)
	if enforcing() {
		f.Restrictions = append(f.Restrictions, "SELinux enforcing")
	}
	return f
}

func enforcing() bool {
	n, _ := number("/sys/fs/selinux/enforce")
	return n == 1
}

// number reads a file that holds one number.
func number(path string) (int, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return n, err == nil
}

// hidePID returns the option of procfs that hides processes, proc(5).
func hidePID(options string) string {
	for option := range strings.SplitSeq(options, ",") {
		value, ok := strings.CutPrefix(option, "hidepid=")
		if ok && value != "0" && value != "off" {
			return option
		}
	}
	return ""
}

// label returns what a security module confines the process by: an AppArmor
// profile that is enforced, or an SELinux domain but those that are not
// confined.
func label(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/attr/current", pid))
	return confining(strings.Trim(string(text), "\x00\n"), enforcing())
}

func confining(label string, selinux bool) string {
	if strings.HasSuffix(label, " (enforce)") || strings.HasSuffix(label, " (kill)") {
		return label
	}
	if parts := strings.Split(label, ":"); selinux && len(parts) >= 3 && !strings.HasPrefix(parts[2], "unconfined_") {
		return label
	}
	return ""
}
