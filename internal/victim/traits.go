//go:build linux

package victim

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A trait belongs to a process, or to its lead thread, and outlives whatever
// it does.
type trait struct {
	name string
	get  func() (string, error)
}

// prctlValue is a trait that prctl(2) returns.
func prctlValue(name string, option int) trait {
	return trait{name, func() (string, error) {
		n, err := unix.PrctlRetInt(option, 0, 0, 0, 0)
		return fmt.Sprintf("%#x", n), err
	}}
}

// prctlStored is a trait that prctl(2) stores where it is told.
func prctlStored(name string, option int) trait {
	return trait{name, func() (string, error) {
		var n int32
		err := unix.Prctl(option, uintptr(unsafe.Pointer(&n)), 0, 0, 0)
		return fmt.Sprint(n), err
	}}
}

func fileTrait(path string) trait {
	return trait{path, func() (string, error) {
		text, err := os.ReadFile(path)
		return string(text), err
	}}
}

func linkTrait(path string) trait {
	return trait{path, func() (string, error) { return os.Readlink(path) }}
}

func statusTrait(keys ...string) trait {
	return trait{fmt.Sprint(keys), func() (string, error) {
		text, err := os.ReadFile("/proc/self/status") // once: a cut may come in between
		if err != nil {
			return "", err
		}
		var out []string
		for line := range strings.SplitSeq(string(text), "\n") {
			if key, value, _ := strings.Cut(line, ":"); slices.Contains(keys, key) {
				out = append(out, strings.Join(strings.Fields(value), " "))
			}
		}
		return strings.Join(out, ", "), nil
	}}
}

func limitsTrait() trait {
	return trait{"limits", func() (string, error) {
		var all [16]unix.Rlimit // RLIM_NLIMITS
		for i := range all {
			if err := unix.Getrlimit(i, &all[i]); err != nil {
				return "", err
			}
		}
		all[unix.RLIMIT_CORE] = unix.Rlimit{} // a world has one of its own
		return fmt.Sprint(all), nil
	}}
}

func personalityTrait() trait {
	return trait{"personality", func() (string, error) {
		r, _, errno := unix.Syscall(unix.SYS_PERSONALITY, 0xffffffff, 0, 0)
		if errno != 0 {
			return "", errno
		}
		return fmt.Sprintf("%#x", r), nil
	}}
}

// unusual gives the process what few have.
func unusual() error {
	const noRandomize, shortInode = 0x0040000, 0x1000000 // sys/personality.h
	if _, _, errno := unix.Syscall(unix.SYS_PERSONALITY, noRandomize|shortInode, 0, 0); errno != 0 {
		return os.NewSyscallError("personality", errno)
	}
	for _, p := range [][2]uintptr{
		{unix.PR_SET_PDEATHSIG, uintptr(unix.SIGURG)}, // which is ignored
		{unix.PR_SET_CHILD_SUBREAPER, 1},
		{unix.PR_SET_THP_DISABLE, 1},
		{unix.PR_SET_NO_NEW_PRIVS, 1},
		{unix.PR_SET_SECUREBITS, 1<<2 | 1<<4}, // no fixup for uids, keep capabilities
	} {
		if err := unix.Prctl(int(p[0]), p[1], 0, 0, 0); err != nil {
			return fmt.Errorf("prctl %d: %w", p[0], err)
		}
	}
	if err := os.WriteFile("/proc/self/coredump_filter", []byte("0x5a"), 0); err != nil {
		return err
	}
	for i, resource := range []int{unix.RLIMIT_CORE, unix.RLIMIT_NPROC, unix.RLIMIT_MEMLOCK, unix.RLIMIT_SIGPENDING, unix.RLIMIT_STACK} {
		var limit unix.Rlimit
		if err := unix.Getrlimit(resource, &limit); err != nil {
			return os.NewSyscallError("getrlimit", err)
		}
		limit.Max = min(limit.Max, uint64(60000000+i)) // raising it may be forbidden
		limit.Cur = limit.Max / 2
		if err := unix.Setrlimit(resource, &limit); err != nil {
			return os.NewSyscallError("setrlimit", err)
		}
	}
	unix.Umask(0o031)
	if err := syscall.Setgroups([]int{4, 20, 777}); err != nil {
		return os.NewSyscallError("setgroups", err)
	}
	return os.NewSyscallError("setresgid", unix.Setresgid(7, 8, 9))
}

// traits looks at what belongs to the process as a whole, and to its lead thread.
func traits(string) (step, error) {
	if err := unusual(); err != nil {
		return nil, err
	}
	return unchanged(
		personalityTrait(),
		prctlStored("parent-death signal", unix.PR_GET_PDEATHSIG),
		prctlStored("subreaper", unix.PR_GET_CHILD_SUBREAPER),
		prctlValue("dumpable", unix.PR_GET_DUMPABLE),
		prctlValue("huge pages", unix.PR_GET_THP_DISABLE),
		prctlValue("securebits", unix.PR_GET_SECUREBITS),
		prctlValue("keepcaps", unix.PR_GET_KEEPCAPS),
		prctlValue("no new privileges", unix.PR_GET_NO_NEW_PRIVS),
		prctlValue("machine checks", unix.PR_MCE_KILL_GET),
		limitsTrait(),
		statusTrait("Name", "Umask", "Tgid", "Pid", "Uid", "Gid", "Groups"),
		fileTrait("/proc/self/coredump_filter"),
		fileTrait("/proc/self/cmdline"),
		fileTrait("/proc/self/environ"),
		fileTrait("/proc/self/auxv"),
		fileTrait("/proc/self/loginuid"),
		linkTrait("/proc/self/exe"),
		linkTrait("/proc/self/cwd"),
		linkTrait("/proc/self/root"),
	)
}

// undumpable keeps others from reading its memory.
func undumpable(string) (step, error) {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return nil, err
	}
	return unchanged(prctlValue("dumpable", unix.PR_GET_DUMPABLE), linkTrait("/proc/self/exe"), statusTrait("Pid"))
}

// unchanged wants every trait to be for ever as it is now.
func unchanged(all ...trait) (step, error) {
	wants := make([]string, len(all))
	for i, t := range all {
		var err error
		if wants[i], err = t.get(); err != nil {
			return nil, fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return func() (string, error) {
		for i, t := range all {
			if got, err := t.get(); err != nil || got != wants[i] {
				return "", fmt.Errorf("%s is %q (%w), was %q", t.name, got, err, wants[i])
			}
		}
		return "", nil
	}, nil
}

// capable gives up some capabilities and keeps one for programs that it may
// start. It notes what it has.
func capable(string) (step, error) {
	const kill, admin, raw, nice = unix.CAP_KILL, unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_SYS_NICE
	if err := unix.Prctl(unix.PR_CAPBSET_DROP, nice, 0, 0, 0); err != nil {
		return nil, err
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return nil, err
	}
	data[0].Effective &^= 1<<kill | 1<<nice
	data[0].Permitted &^= 1 << nice
	data[0].Inheritable = 1<<admin | 1<<raw
	if err := unix.Capset(&header, &data[0]); err != nil {
		return nil, err
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, admin, 0, 0); err != nil {
		return nil, err
	}
	return statusTrait("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb").get, nil
}
