//go:build linux

package escapetest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What an attempt must come to.
type want int

const (
	// refused: the kernel says no.
	refused want = iota
	// inside: it may succeed, and reaches the world only. The canary knows better.
	inside
)

// An attempt is one way out.
type attempt struct {
	name string
	// by is the layer that stops it, for the table.
	by   string
	want want
	// op is what it is recorded as, or empty where a failure says enough.
	op  string
	try func(c *canary) error
}

func dial(network, address string) error {
	conn, err := net.DialTimeout(network, address, 3*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte("hello from a world"))
	return err
}

func local(ip string, port int) string { return net.JoinHostPort(ip, strconv.Itoa(port)) }

// write opens an existing file for writing, and writes.
func write(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

func open(path string, flags int) error {
	fd, err := unix.Open(path, flags|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// call makes a system call whose pointers, if any, are null: it is refused
// before they are looked at.
func call(nr uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	_, _, errno := unix.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
	if errno != 0 {
		return errno
	}
	return nil
}

func socket(family, typ, protocol int) error {
	fd, err := unix.Socket(family, typ, protocol)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// send sends a packet without a connection.
func send(family, typ, protocol int, to unix.Sockaddr) error {
	fd, err := unix.Socket(family, typ|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Sendto(fd, []byte("hello from a world"), 0, to)
}

func canaryProc(c *canary, file string) string { return fmt.Sprintf("/proc/%d/%s", c.PID, file) }

// hostPort of addresses that no world has.
const (
	outside4 = "198.51.100.7:80"
	outside6 = "[2001:db8::7]:80"
)

var network = []attempt{
	// Somebody stands in for it, and cuts the connection.
	{"TCP to a server of the host, IPv4", "network namespace", inside, "", func(c *canary) error { return dial("tcp4", local("127.0.0.1", c.TCP4)) }},
	{"TCP to a server of the host, IPv6", "network namespace", inside, "", func(c *canary) error { return dial("tcp6", local("::1", c.TCP6)) }},
	{"TCP to the internet, IPv4", "network namespace", refused, "connect", func(*canary) error { return dial("tcp4", outside4) }},
	{"TCP to the internet, IPv6", "network namespace", refused, "connect", func(*canary) error { return dial("tcp6", outside6) }},
	{"UDP to the host", "network namespace", inside, "", func(c *canary) error { return dial("udp4", local("127.0.0.1", c.UDP4)) }},
	{"UDP to the internet", "network namespace", inside, "send", func(*canary) error { return dial("udp4", outside4) }},
	{"UDP multicast, IPv4", "network namespace", inside, "send", func(c *canary) error { return dial("udp4", local("224.0.0.251", c.Multicast)) }},
	{"UDP multicast, IPv6", "network namespace", inside, "", func(c *canary) error { return dial("udp6", local("ff02::fb%lo", c.Multicast)) }},
	{"UDP broadcast", "network namespace", inside, "send", func(c *canary) error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1); err != nil {
			return err
		}
		return unix.Sendto(fd, []byte("hello"), 0, &unix.SockaddrInet4{Port: c.UDP4, Addr: [4]byte{255, 255, 255, 255}})
	}},
	{"raw ICMP to the internet", "network namespace", inside, "send", func(*canary) error {
		return send(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP, &unix.SockaddrInet4{Addr: [4]byte{198, 51, 100, 7}})
	}},
	{"packet socket on the loopback device", "network namespace", inside, "", func(*canary) error {
		return send(unix.AF_PACKET, unix.SOCK_DGRAM, 0, &unix.SockaddrLinklayer{Ifindex: 1, Protocol: 0x0008, Halen: 6})
	}},
	{"an address for the loopback device by netlink", "network namespace", inside, "", func(*canary) error {
		return socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
	}},
	{"vsock to the hypervisor", "seccomp", refused, "socket", func(*canary) error { return socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0) }},
	{"bluetooth socket", "seccomp", refused, "socket", func(*canary) error { return socket(unix.AF_BLUETOOTH, unix.SOCK_RAW, 0) }},
	{"QRTR socket", "seccomp", refused, "socket", func(*canary) error { return socket(unix.AF_QIPCRTR, unix.SOCK_DGRAM, 0) }},
	{"kernel crypto socket", "seccomp", refused, "socket", func(*canary) error { return socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0) }},
}

var localSockets = []attempt{
	{"unix socket with a path, bound before", "overlay", refused, "connect", func(c *canary) error { return dial("unix", c.Early) }},
	{"unix socket with a path, bound after", "overlay", refused, "connect", func(c *canary) error { return dial("unix", c.Late) }},
	{"unix socket in /run, as docker and D-Bus have", "mounts", refused, "connect", func(c *canary) error { return dial("unix", c.Run) }},
	{"unix socket by the root of process 1", "not dumpable", refused, "", func(c *canary) error { return dial("unix", "/proc/1/root"+c.Run) }},
	{"abstract unix socket", "network namespace", refused, "connect", func(c *canary) error { return dial("unix", "@"+c.Abstract) }},
	{"reading a fifo, made before", "overlay", inside, "", func(c *canary) error { return steal(c.FIFO) }},
	{"reading a fifo, made after", "overlay", inside, "", func(c *canary) error { return steal(c.LateFIFO) }},
	{"writing to a fifo", "overlay", inside, "", func(c *canary) error {
		fd, err := unix.Open(c.FIFO, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		_, err = unix.Write(fd, []byte("hello"))
		return err
	}},
	{"a terminal of the host by its path", "minimal /dev", refused, "", func(c *canary) error { return write(c.PTY, "hello") }},
	{"typing on a terminal, TIOCSTI", "seccomp", refused, "ioctl", func(*canary) error {
		f, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		return unix.IoctlSetPointerInt(int(f.Fd()), unix.TIOCSTI, 'x')
	}},
}

func steal(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, make([]byte, 8))
	if n > 0 {
		return nil // the canary misses them, if they are its own
	}
	return err
}

var processes = []attempt{
	{"signal to a process", "pid namespace", refused, "kill", func(c *canary) error { return unix.Kill(c.PID, unix.SIGUSR1) }},
	{"signal to a process group", "pid namespace", refused, "kill", func(c *canary) error { return unix.Kill(-c.PID, unix.SIGUSR1) }},
	{"signal to a thread", "pid namespace", refused, "", func(c *canary) error { return unix.Tgkill(c.PID, c.PID, unix.SIGUSR1) }},
	{"signal to its own process group", "session", inside, "", func(*canary) error { return unix.Kill(0, unix.SIGURG) }},
	{"signal to a process, by pidfd", "pid namespace", refused, "pidfd_open", func(c *canary) error {
		fd, err := unix.PidfdOpen(c.PID, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.PidfdSendSignal(fd, unix.SIGUSR1, nil, 0)
	}},
	{"ptrace of a process", "pid namespace", refused, "ptrace", func(c *canary) error { return call(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(c.PID)) }},
	{"ptrace of process 1", "capabilities", refused, "", func(*canary) error { return call(unix.SYS_PTRACE, unix.PTRACE_SEIZE, 1) }},
	{"process_vm_writev", "pid namespace", refused, "process_vm_writev", func(c *canary) error {
		b := []byte{0}
		_, err := unix.ProcessVMWritev(c.PID, []unix.Iovec{{Base: &b[0], Len: 1}}, []unix.RemoteIovec{{Base: 4096, Len: 1}}, 0)
		return err
	}},
	{"memory of a process", "pid namespace", refused, "", func(c *canary) error { return open(canaryProc(c, "mem"), unix.O_RDWR) }},
	{"memory of process 1", "not dumpable", refused, "", func(*canary) error { return open("/proc/1/mem", unix.O_RDWR) }},
	{"root directory of a process", "pid namespace", refused, "", func(c *canary) error { return open(canaryProc(c, "root/etc/passwd"), unix.O_RDONLY) }},
	{"descriptors of process 1", "not dumpable", refused, "", func(*canary) error { return open("/proc/1/fd/2", unix.O_WRONLY) }},
	{"program of process 1", "not dumpable", refused, "", func(*canary) error { return os.Chmod("/proc/1/exe", 0o777) }},
	{"priority of a process", "pid namespace", refused, "", func(c *canary) error { return unix.Setpriority(unix.PRIO_PROCESS, c.PID, 19) }},
	{"processors of a process", "pid namespace", refused, "", func(c *canary) error { return unix.SchedSetaffinity(c.PID, &unix.CPUSet{1}) }},
	{"limits of a process", "pid namespace", refused, "", func(c *canary) error {
		return unix.Prlimit(c.PID, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 8, Max: 8}, nil)
	}},
	{"moving pages of a process", "pid namespace", refused, "", func(c *canary) error { return call(unix.SYS_MIGRATE_PAGES, uintptr(c.PID)) }},
	{"real-time priority", "capabilities", refused, "", func(*canary) error {
		return unix.SchedSetAttr(0, &unix.SchedAttr{Size: 48, Policy: unix.SCHED_FIFO, Priority: 50}, 0)
	}},
	{"its own program's mode", "a program of its own", inside, "", func(*canary) error { return os.Chmod("/proc/self/exe", 0o700) }},
	{"files by its mappings", "capabilities", refused, "", mappedFiles},
	{"entering the namespaces of process 1", "not dumpable", refused, "", func(*canary) error { return open("/proc/1/ns/mnt", unix.O_RDONLY) }},
	{"entering a namespace, setns", "seccomp", refused, "setns", func(*canary) error { return unix.Setns(0, unix.CLONE_NEWNS) }},
	{"a user namespace by unshare", "seccomp", refused, "unshare", func(*canary) error { return unix.Unshare(unix.CLONE_NEWUSER) }},
	{"a user namespace by clone", "seccomp", refused, "clone", func(*canary) error { return fork(unix.SYS_CLONE, unix.CLONE_NEWUSER, 0) }},
	{"a user namespace by clone3", "limit of namespaces", refused, "", func(*canary) error {
		args := [11]uint64{0: unix.CLONE_NEWUSER, 4: uint64(unix.SIGCHLD)} // struct clone_args
		return fork(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args))
	}},
	{"a program that makes root, setuid", "mounts", refused, "", setuid},
}

// fork makes a call that makes a process, which ends at once.
func fork(nr, a, b uintptr) error {
	pid, _, errno := unix.RawSyscall(nr, a, b, 0)
	if errno != 0 {
		return errno
	}
	if pid == 0 {
		_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	return nil
}

// mappedFiles opens the files that it has mapped by /proc/self/map_files, which
// lead by the mounts that they were mapped by.
func mappedFiles(*canary) error {
	entries, err := os.ReadDir("/proc/self/map_files")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err = open(filepath.Join("/proc/self/map_files", e.Name()), unix.O_RDONLY); err == nil {
			return nil
		}
	}
	return err
}

// setuid becomes nobody, and runs a program that would make it root again.
func setuid(c *canary) error {
	p, err := os.StartProcess(c.Exe, []string{whoName}, &os.ProcAttr{
		Env: []string{}, Sys: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}},
	})
	if err != nil {
		return err
	}
	state, err := p.Wait()
	if err != nil {
		return err
	}
	if state.ExitCode() != 0 {
		return errors.New("it is not root")
	}
	return nil
}

// newFile is one that the host must not get, and the report must tell of.
const newFile = "/etc/pilot-escape"

var files = []attempt{
	{"writing to a file of the host", "overlay", inside, "", func(c *canary) error { return write(c.File, "mine now") }},
	{"a new file in /etc", "overlay", inside, "", func(*canary) error { return os.WriteFile(newFile, []byte("mine now"), 0o644) }},
	{"truncating a file of the host", "overlay", inside, "", func(c *canary) error { return os.Truncate(c.File, 0) }},
	{"removing a file of the host", "overlay", inside, "", func(*canary) error { return os.Remove("/etc/hostname") }},
	{"changing the mode of a file", "overlay", inside, "", func(c *canary) error { return os.Chmod(c.File, 0) }},
	{"changing the owner of a file", "overlay", inside, "", func(c *canary) error { return os.Chown(c.File, 7, 7) }},
	{"changing the times of a file", "overlay", inside, "", func(c *canary) error { return os.Chtimes(c.File, time.Unix(1, 0), time.Unix(1, 0)) }},
	{"an extended attribute for a file", "overlay", inside, "", func(c *canary) error { return unix.Setxattr(c.File, "user.x", []byte("y"), 0) }},
	{"changing a setuid program", "overlay", inside, "", func(c *canary) error { return os.Chmod(c.Exe, 0o755) }},
	{"a shared map of a file", "overlay", inside, "", sharedMap},
	{"a lock on a file", "overlay", inside, "", func(c *canary) error {
		return hold(c, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	}},
	{"a record lock on a file", "overlay", inside, "", func(c *canary) error {
		return hold(c, func(fd int) error {
			return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
		})
	}},
	{"a lease on a file", "overlay", inside, "", func(c *canary) error {
		return hold(c, func(fd int) error { _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_WRLCK); return err })
	}},
	{"an inherited file, opened again for writing", "overlay", inside, "", func(*canary) error {
		return write(fmt.Sprintf("/proc/self/fd/%d", inheritedFile), "mine now")
	}},
	{"the mode of /dev/null", "mounts", refused, "", func(*canary) error { return os.Chmod("/dev/null", 0) }},
	{"the mode of stdin", "descriptors made anew", refused, "", func(*canary) error {
		// The action's is the world's /dev/null, and a phantom's too.
		return unix.Fchmod(0, 0)
	}},
	{"mounting a file system", "seccomp", refused, "mount", func(*canary) error { return unix.Mount("tmpfs", "/mnt", "tmpfs", 0, "") }},
	{"mounting writable again", "seccomp", refused, "mount", func(*canary) error { return unix.Mount("", "/sys", "", unix.MS_REMOUNT|unix.MS_BIND, "") }},
	{"mounting by descriptor", "seccomp", refused, "fsopen", func(*canary) error { _, err := unix.Fsopen("ext4", 0); return err }},
	{"uncovering by umount", "seccomp", refused, "umount2", func(*canary) error { return unix.Unmount("/proc/sys", unix.MNT_DETACH) }},
	{"mount attributes", "seccomp", refused, "mount_setattr", func(*canary) error {
		return unix.MountSetattr(unix.AT_FDCWD, "/sys", 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY})
	}},
	{"copying a mount", "seccomp", refused, "open_tree", func(*canary) error { _, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE); return err }},
	{"another root, pivot_root", "seccomp", refused, "pivot_root", func(*canary) error { return unix.PivotRoot("/", "/") }},
	{"out of a chroot", "root of the mount namespace", inside, "", func(c *canary) error { return open(c.Dir+"/../../../../../../../../../proc/1/root", unix.O_RDONLY) }},
	{"a file by its handle", "seccomp", refused, "open_by_handle_at", func(*canary) error {
		_, err := unix.OpenByHandleAt(unix.AT_FDCWD, unix.NewFileHandle(1, make([]byte, 8)), unix.O_RDONLY)
		return err
	}},
	{"a device node", "seccomp", refused, "mknodat", func(c *canary) error {
		return unix.Mknod(filepath.Join(c.Dir, "disk"), unix.S_IFBLK|0o600, int(unix.Mkdev(254, 0)))
	}},
	{"raw disks", "minimal /dev", refused, "", func(*canary) error { return open("/dev/vda", unix.O_RDWR) }},
	{"loop devices", "minimal /dev", refused, "", func(*canary) error { return open("/dev/loop-control", unix.O_RDWR) }},
	{"physical memory", "minimal /dev", refused, "", func(*canary) error { return open("/dev/mem", unix.O_RDWR) }},
	{"the kernel's log", "capabilities", refused, "", func(*canary) error { return open("/proc/kmsg", unix.O_RDONLY) }},
	{"kernel memory", "capabilities", refused, "", func(*canary) error { return open("/proc/kcore", unix.O_RDONLY) }},
	{"sysctl: the handler of core dumps", "mounts", refused, "", func(*canary) error { return open("/proc/sys/kernel/core_pattern", unix.O_WRONLY) }},
	{"sysctl: caches", "mounts", refused, "", func(*canary) error { return open("/proc/sys/vm/drop_caches", unix.O_WRONLY) }},
	{"sysrq", "mounts", refused, "", func(*canary) error { return open("/proc/sysrq-trigger", unix.O_WRONLY) }},
	{"interrupts", "mounts", refused, "", func(*canary) error { return open("/proc/irq/default_smp_affinity", unix.O_WRONLY) }},
	{"power, by sysfs", "mounts", refused, "", func(*canary) error { return open("/sys/kernel/uevent_helper", unix.O_WRONLY) }},
	{"tracing", "mounts", refused, "", func(*canary) error { return open("/sys/kernel/tracing/trace_pipe", unix.O_RDONLY) }},
	{"another control group", "mounts", refused, "", func(*canary) error {
		return anyWritable("/sys/fs/cgroup/*/cgroup.procs", "/sys/fs/cgroup/cgroup.procs")
	}},
	{"a control group of its own", "mounts", refused, "", func(*canary) error {
		return anyDirectory("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/memory")
	}},
}

func anyWritable(patterns ...string) (err error) {
	err = unix.ENOENT
	for _, p := range patterns {
		paths, _ := filepath.Glob(p)
		for _, path := range paths {
			if err = open(path, unix.O_WRONLY); err == nil {
				return nil
			}
		}
	}
	return err
}

func anyDirectory(dirs ...string) (err error) {
	for _, d := range dirs {
		if err = os.Mkdir(filepath.Join(d, "pilot-escape"), 0o755); err == nil {
			_ = os.Remove(filepath.Join(d, "pilot-escape"))
			return nil
		}
	}
	return err
}

// hold does something to a file that lasts as long as it is open, which is for
// ever.
func hold(c *canary, do func(fd int) error) error {
	fd, err := unix.Open(c.File, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return do(fd)
}

func sharedMap(c *canary) error {
	fd, err := unix.Open(c.File, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, 4096); err != nil {
		return err
	}
	b, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	copy(b, "mine now")
	return unix.Msync(b, unix.MS_SYNC)
}

var kernel = []attempt{
	{"System V shared memory by its key", "ipc namespace", refused, "", func(c *canary) error { _, err := unix.SysvShmGet(c.SysV, 4096, 0); return err }},
	{"POSIX shared memory by its name", "minimal /dev", refused, "", func(*canary) error { return open("/dev/shm/"+shmName, unix.O_RDWR) }},
	{"a key for the user's keyring", "seccomp", refused, "add_key", func(*canary) error {
		_, err := unix.AddKey("user", "pilot-escape", []byte("x"), unix.KEY_SPEC_USER_KEYRING)
		return err
	}},
	{"reading the session's keyring", "seccomp", refused, "keyctl", func(*canary) error {
		_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
		return err
	}},
	{"asking for a key", "seccomp", refused, "request_key", func(*canary) error { _, err := unix.RequestKey("user", "x", "", 0); return err }},
	{"io_uring", "seccomp", refused, "io_uring_setup", func(*canary) error { return call(unix.SYS_IO_URING_SETUP, 4) }},
	{"bpf", "seccomp", refused, "bpf", func(*canary) error { return call(unix.SYS_BPF, 0) }},
	{"perf", "seccomp", refused, "perf_event_open", func(*canary) error { return call(unix.SYS_PERF_EVENT_OPEN) }},
	{"userfaultfd", "seccomp", refused, "userfaultfd", func(*canary) error { return call(unix.SYS_USERFAULTFD) }},
	{"another kernel, kexec", "seccomp", refused, "kexec_load", func(*canary) error { return call(unix.SYS_KEXEC_LOAD) }},
	{"another kernel by file", "seccomp", refused, "kexec_file_load", func(*canary) error { return call(unix.SYS_KEXEC_FILE_LOAD) }},
	{"reboot", "seccomp", refused, "reboot", func(*canary) error { return unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF) }},
	{"a kernel module", "seccomp", refused, "init_module", func(*canary) error { return unix.InitModule([]byte{0}, "") }},
	{"removing a module", "seccomp", refused, "delete_module", func(*canary) error { return unix.DeleteModule("pilot-escape", 0) }},
	{"swap", "seccomp", refused, "swapoff", func(*canary) error { return call(unix.SYS_SWAPOFF) }},
	{"accounting", "seccomp", refused, "acct", func(*canary) error { return unix.Acct("") }},
	{"quotas", "seccomp", refused, "quotactl", func(*canary) error { return call(unix.SYS_QUOTACTL) }},
	{"the wall clock", "seccomp", refused, "clock_settime", func(*canary) error {
		var now unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_REALTIME, &now)
		return unix.ClockSettime(unix.CLOCK_REALTIME, &now)
	}},
	{"the wall clock, the old way", "seccomp", refused, "settimeofday", func(*canary) error { return call(unix.SYS_SETTIMEOFDAY) }},
	{"the clock's speed", "capabilities", refused, "", func(*canary) error {
		_, err := unix.Adjtimex(&unix.Timex{Modes: unix.ADJ_TICK, Tick: 10000})
		return err
	}},
	{"I/O ports", "seccomp", refused, "iopl", func(*canary) error { return call(unix.SYS_IOPL, 3) }},
	{"I/O ports, one by one", "seccomp", refused, "ioperm", func(*canary) error { return call(unix.SYS_IOPERM, 0x80, 1, 1) }},
	{"clearing the kernel's log", "capabilities", refused, "", func(*canary) error { return call(unix.SYS_SYSLOG, 6) }},
	{"watching all files, fanotify", "capabilities", refused, "", func(*canary) error { _, err := unix.FanotifyInit(unix.FAN_CLASS_PRE_CONTENT, 0); return err }},
	{"the host's name", "uts namespace", inside, "", func(*canary) error { return unix.Sethostname([]byte("escaped")) }},
	{"calls of another instruction set", "seccomp", refused, "", foreignCall},
	{"a core dump for the host's handler", "limit of 1", inside, "", dumpCore},
}

// foreignCall makes a call of the x32 ABI: getpid.
func foreignCall(*canary) error { return call(0x40000000 + unix.SYS_GETPID) }

// dumpCore lets a child die of a signal that dumps core.
func dumpCore(*canary) error {
	p, err := os.StartProcess("/proc/self/exe", []string{abortName}, &os.ProcAttr{Env: []string{}})
	if err != nil {
		return err
	}
	state, err := p.Wait()
	if err != nil {
		return err
	}
	ws := state.Sys().(syscall.WaitStatus)
	if ws.CoreDump() {
		return nil
	}
	return fmt.Errorf("%v, no core dumped", state)
}

// attempts is the whole table.
func attempts() (all []attempt) {
	for _, part := range [][]attempt{network, localSockets, processes, files, kernel} {
		all = append(all, part...)
	}
	return all
}
