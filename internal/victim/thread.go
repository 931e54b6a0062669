//go:build linux

package victim

import (
	"crypto/sha256"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A thread counts its rounds, each of which blocks in the kernel in one way.
type thread struct {
	name   string
	block  func() error
	rounds atomic.Int64
	failed atomic.Pointer[error]
	seen   int64
	when   time.Duration
	robust robustList
}

const napTime = 30 * time.Millisecond

func napSpec() *unix.Timespec { ts := unix.NsecToTimespec(int64(napTime)); return &ts }

func interrupted(errno unix.Errno) error {
	switch errno {
	case 0, unix.EINTR, unix.ETIMEDOUT:
		return nil
	}
	return errno
}

// threads has many threads that stand in different calls, each with a name, an
// alternate stack and a list of robust futexes of its own.
func threads(string) (step, error) {
	var wake [2]int // read by one thread for ever, one byte for each round
	if err := unix.Pipe2(wake[:], unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	ep, err := unix.EpollCreate1(0)
	if err != nil {
		return nil, err
	}
	word := new(uint32)
	ways := []func() error{
		func() error {
			begin := monotonic()
			_, _, errno := unix.Syscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(napSpec())), 0, 0)
			if took := monotonic() - begin; errno == 0 && took < napTime {
				return fmt.Errorf("slept %v instead of %v", took, napTime)
			}
			return interrupted(errno)
		},
		func() error {
			_, _, errno := unix.Syscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, 0, uintptr(unsafe.Pointer(napSpec())), 0, 0, 0)
			return interrupted(errno)
		},
		func() error {
			_, _, errno := unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), 128 /* FUTEX_WAIT_PRIVATE */, 0, uintptr(unsafe.Pointer(napSpec())), 0, 0)
			return interrupted(errno)
		},
		func() error {
			_, err := unix.Poll([]unix.PollFd{{Fd: int32(ep), Events: unix.POLLIN}}, int(napTime/time.Millisecond))
			if err == unix.EINTR {
				return nil
			}
			return err
		},
		func() error {
			n, err := unix.EpollWait(ep, make([]unix.EpollEvent, 1), int(napTime/time.Millisecond))
			if err == unix.EINTR || n == 0 {
				return nil
			}
			return fmt.Errorf("epoll_wait: %d, %w", n, err)
		},
		func() error {
			n, err := unix.Read(wake[0], make([]byte, 1))
			if err == unix.EINTR || n == 1 {
				return nil
			}
			return fmt.Errorf("read: %d, %w", n, err)
		},
		func() error { // no call at all
			for i := range 200000 {
				if i%50000 == 0 {
					runtime.Gosched()
				}
			}
			unix.Nanosleep(&unix.Timespec{Nsec: 1000000}, nil)
			return nil
		},
	}
	var all []*thread
	for i := range 28 {
		t := &thread{name: fmt.Sprintf("victim-%d", i), block: ways[i%len(ways)], when: monotonic()}
		all = append(all, t)
		go t.run()
	}
	readers := len(all) / len(ways)
	return func() (string, error) {
		if _, err := unix.Write(wake[1], make([]byte, readers)); err != nil {
			return "", err
		}
		for _, t := range all {
			if err := t.failed.Load(); err != nil {
				return "", fmt.Errorf("%s: %w", t.name, *err)
			}
			if n := t.rounds.Load(); n != t.seen {
				t.seen, t.when = n, monotonic()
			}
			if ago := monotonic() - t.when; ago > 3*late {
				return "", fmt.Errorf("%s stands still for %v", t.name, ago)
			}
		}
		return "", nil
	}, nil
}

func (t *thread) run() {
	runtime.LockOSThread()
	err := t.loop()
	t.failed.Store(&err)
}

// robustList is struct robust_list_head, empty.
type robustList struct {
	next   uintptr
	offset int64
	op     uintptr
}

func (t *thread) loop() error {
	robust := &t.robust
	robust.next = uintptr(unsafe.Pointer(robust))
	if _, _, errno := unix.RawSyscall(unix.SYS_SET_ROBUST_LIST, uintptr(unsafe.Pointer(robust)), unsafe.Sizeof(*robust), 0); errno != 0 {
		return errno
	}
	name := append([]byte(t.name), 0)
	if err := unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0, 0, 0); err != nil {
		return err
	}
	tid, stack := unix.Gettid(), altStack()
	for ; ; t.rounds.Add(1) {
		if err := t.block(); err != nil {
			return err
		}
		if got := unix.Gettid(); got != tid {
			return fmt.Errorf("thread %d was %d", got, tid)
		}
		comm, err := readTold(fmt.Sprintf("/proc/self/task/%d/comm", tid))
		if err != nil || strings.TrimSpace(string(comm)) != t.name {
			return fmt.Errorf("name %q, %w", comm, err)
		}
		if got := altStack(); got != stack {
			return fmt.Errorf("alternate stack %#x, was %#x", got, stack)
		}
		var head, size uintptr
		if _, _, errno := unix.RawSyscall(unix.SYS_GET_ROBUST_LIST, 0, uintptr(unsafe.Pointer(&head)), uintptr(unsafe.Pointer(&size))); errno != 0 || head != uintptr(unsafe.Pointer(robust)) {
			return fmt.Errorf("robust list at %#x (%w), was %p", head, errno, robust)
		}
	}
}

// readTold reads a file of /proc about a thread. One that was open at the cut is
// empty in the world.
func readTold(path string) (text []byte, err error) {
	for range 2 {
		if text, err = os.ReadFile(path); err != nil || len(text) > 0 {
			break
		}
	}
	return text, err
}

func altStack() (stack [3]uint64) {
	_, _, _ = unix.RawSyscall(unix.SYS_SIGALTSTACK, 0, uintptr(unsafe.Pointer(&stack)), 0)
	return stack
}

// float computes for ever what must come out the same every time, in wide and
// in floating registers.
func float(string) (step, error) {
	data := make([]byte, 64<<10)
	var s sequence
	copy(data, s.next(len(data)))
	type results struct {
		sum [32]byte
		crc uint32
		f   uint64
	}
	once := func() (r results) {
		r.sum = sha256.Sum256(data)
		r.crc = crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
		a, b, c, d := 1.0, 2.0, 3.0, 4.0
		for i := range 20000 {
			a = math.FMA(a, 1.0000001, b)
			b = math.Sqrt(a*c + 1)
			c = b/d + float64(i)
			d = math.Abs(a-c) + 1.5
		}
		r.f = math.Float64bits(a + b + c + d)
		return r
	}
	want := once()
	var wrong atomic.Pointer[error]
	var rounds atomic.Int64
	for range 2 {
		go func() {
			runtime.LockOSThread()
			for {
				if got := once(); got != want {
					err := fmt.Errorf("got %x, want %x", got, want)
					wrong.Store(&err)
				}
				rounds.Add(1)
			}
		}()
	}
	return func() (string, error) {
		if err := wrong.Load(); err != nil {
			return "", *err
		}
		return fmt.Sprint(rounds.Load()), nil
	}, nil
}

// process looks at what belongs to it as a whole.
func process(dir string) (step, error) {
	cwd := dir + "/cwd"
	if err := os.Mkdir(cwd, 0o755); err != nil {
		return nil, err
	}
	if err := os.Chdir(cwd); err != nil {
		return nil, err
	}
	unix.Umask(0o137)
	limit := unix.Rlimit{Cur: 333, Max: 444}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return nil, err
	}
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, 3); err != nil {
		return nil, err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return nil, err
	}
	pid, started, n := os.Getpid(), time.Now(), 0
	exe, err := os.Readlink("/proc/self/exe")
	return func() (string, error) {
		if got := os.Getpid(); got != pid {
			return "", fmt.Errorf("pid %d was %d", got, pid)
		}
		if parent := os.Getppid(); parent == pid {
			return "", fmt.Errorf("parent %d", parent)
		}
		if got, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); err != nil || got != cwd {
			return "", fmt.Errorf("working directory %q (%v), want %q", got, err, cwd)
		}
		if got, err := os.Readlink("/proc/self/exe"); err != nil || got != exe {
			return "", fmt.Errorf("program %q (%v), was %q", got, err, exe)
		}
		name := fmt.Sprintf("relative-%d", n)
		n++
		if err := os.WriteFile(name, nil, 0o777); err != nil {
			return "", err
		}
		if fi, err := os.Stat(cwd + "/" + name); err != nil || fi.Mode().Perm() != 0o640 {
			return "", fmt.Errorf("umask gave %v, %w", fi.Mode(), err)
		}
		var got unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &got); err != nil || got != limit {
			return "", fmt.Errorf("limit %+v (%v), want %+v", got, err, limit)
		}
		if nice, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err != nil || nice != 20-3 {
			return "", fmt.Errorf("nice value %d, %v", 20-nice, err)
		}
		if v, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err != nil || v != 1 {
			return "", fmt.Errorf("no_new_privs %d, %v", v, err)
		}
		if time.Since(started) < 0 || time.Since(started) > time.Hour {
			return "", fmt.Errorf("started %v ago", time.Since(started))
		}
		return "", nil
	}, err
}
