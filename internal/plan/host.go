package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
)

// HostFacts is what decides whether pilot can work on a host at all.
type HostFacts struct {
	// Capabilities are the agent's effective ones.
	Capabilities uint64
	// PtraceScope is kernel.yama.ptrace_scope, 0 without Yama.
	PtraceScope int
	// MaxNamespaces are user.max_KIND_namespaces by kind: "user", "mnt", ...
	MaxNamespaces map[string]int
	// HidePID is the option of /proc, such as "hidepid=2", or empty.
	HidePID string
	// Restrictions are settings that can forbid a world, such as
	// "kernel.apparmor_restrict_unprivileged_userns = 1" or "SELinux enforcing".
	Restrictions []string
	// NoTun says that /dev/net/tun is not there.
	NoTun bool
}

// needed are the capabilities(7) without which pilot fails sooner or later.
// CAP_CHECKPOINT_RESTORE is none of them: thread numbers are given inside a
// world, where the phantom has it.
var needed = []struct {
	number    int
	name, why string
}{
	{0, "CAP_CHOWN", "gives copies of files the owners that the originals have"},
	{1, "CAP_DAC_OVERRIDE", "reads the data of other users"},
	{3, "CAP_FOWNER", "gives copies of files the modes and times that the originals have"},
	{5, "CAP_KILL", "ends what it made of other users' processes"},
	{6, "CAP_SETGID", "maps the groups of a world"},
	{7, "CAP_SETUID", "maps the users of a world, and makes it theirs"},
	{10, "CAP_NET_BIND_SERVICE", "binds ports below 1024 in a world"},
	{12, "CAP_NET_ADMIN", "reads what connections have not delivered yet"},
	{18, "CAP_SYS_CHROOT", "enters the mounts of a world"},
	{capSysPtrace, "CAP_SYS_PTRACE", "stops and reads processes of others"},
	{capSysAdmin, "CAP_SYS_ADMIN", "enters namespaces, reads seccomp filters"},
	{31, "CAP_SETFCAP", "maps root into a world"},
}

// Host refuses a host on which no process can be piloted.
//
// Some restrictions are no reason: CAP_SYS_PTRACE passes kernel.yama.ptrace_scope
// 1 and 2 and hidepid, CAP_SYS_ADMIN kernel.unprivileged_userns_clone, and the
// lockdown LSM restricts neither ptrace nor /proc/PID/mem.
func Host(f HostFacts) (out []model.Refusal) {
	refuse := func(object, kind, why, hint string) {
		out = append(out, model.Refusal{Object: object, Kind: kind, Why: why, Hint: hint})
	}
	for _, c := range needed {
		if f.Capabilities&(1<<c.number) == 0 {
			refuse("pilot", c.name, "is missing: with it pilot "+c.why, "run it as root of the host, or with this capability")
		}
	}
	if f.HidePID != "" && f.Capabilities&(1<<capSysPtrace) == 0 {
		refuse("/proc", f.HidePID, "hides the processes of others", "")
	}
	if f.PtraceScope >= 3 {
		refuse("kernel", "kernel.yama.ptrace_scope = 3", "forbids everybody to trace, until the next boot", "boot with a lower value")
	}
	var kinds []string
	for kind, n := range f.MaxNamespaces {
		if n == 0 {
			kinds = append(kinds, kind)
		}
	}
	slices.Sort(kinds)
	for _, kind := range kinds {
		name := "user.max_" + kind + "_namespaces"
		refuse("kernel", name+" = 0", "forbids to make "+kind+" namespaces", "sysctl -w "+name+"=1000")
	}
	return out
}

// HostGaps tells what no world on the host can have.
func HostGaps(f HostFacts) (out []model.Gap) {
	if f.NoTun {
		out = append(out, model.Gap{
			Object: "/dev/net/tun",
			Detail: "is missing: attempts to leave a world by network fail unseen, so no run can pass; load the module tun",
		})
	}
	return out
}

// World says why an empty world of the given owner could not be made, which
// failed with err.
func World(f HostFacts, owner int, err error) []model.Refusal {
	if err == nil {
		return nil
	}
	r := model.Refusal{Object: "kernel", Kind: "namespaces", Why: fmt.Sprintf("an empty world of uid %d could not be made: %v", owner, err)}
	switch text := err.Error(); {
	// ENOSPC, clone(2): a limit of namespaces is reached.
	case strings.Contains(text, "no space left"):
		r.Hint = fmt.Sprintf("raise user.max_*_namespaces, or end what uses up the namespaces of uid %d", owner)
	// mount(2): a procfs is not mounted where one with parts covered is all there is.
	case strings.Contains(text, "mount /proc"):
		r.Hint = "run pilot where /proc is not partly covered, outside of the container"
	case len(f.Restrictions) > 0:
		r.Hint = "this host has " + strings.Join(f.Restrictions, ", ")
	}
	return []model.Refusal{r}
}
