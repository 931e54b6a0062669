//go:build linux

package victim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func put(n uint64) []byte { return binary.NativeEndian.AppendUint64(nil, n) }

func take(fd int) (uint64, error) {
	buf := make([]byte, 8)
	if n, err := unix.Read(fd, buf); n != 8 {
		return 0, fmt.Errorf("read %d: %w", n, err)
	}
	return binary.NativeEndian.Uint64(buf), nil
}

// fdinfo finds a line of /proc/self/fdinfo.
func fdinfo(fd int, key string) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	for line := range strings.SplitSeq(string(text), "\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && k == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func eventfd(string) (step, error) {
	const large = 0xfffffffffffffffe
	still, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err == nil {
		_, err = unix.Write(still, put(large))
	}
	if err != nil {
		return nil, err
	}
	sem, err := unix.Eventfd(5, unix.EFD_SEMAPHORE)
	if err != nil {
		return nil, err
	}
	busy, err := unix.Eventfd(0, unix.EFD_NONBLOCK)
	sum := uint64(0)
	return func() (string, error) {
		if got := fdinfo(still, "eventfd-count"); got != fmt.Sprintf("%x", uint64(large)) {
			return "", fmt.Errorf("count %q, want %x", got, uint64(large))
		}
		if _, err := unix.Write(still, put(1)); err != unix.EAGAIN {
			return "", fmt.Errorf("write to the full one: %v", err)
		}
		if n, err := take(sem); n != 1 || err != nil {
			return "", fmt.Errorf("semaphore gave %d, %v", n, err)
		}
		if _, err := unix.Write(sem, put(1)); err != nil {
			return "", err
		}
		if got := fdinfo(sem, "eventfd-count"); got != "5" {
			return "", fmt.Errorf("semaphore count %q, want 5", got)
		}
		if sum > 0 {
			if n, err := take(busy); n != sum || err != nil {
				return "", fmt.Errorf("count %d (%v), want %d", n, err, sum)
			}
		}
		if n, err := take(busy); !errors.Is(err, unix.EAGAIN) {
			return "", fmt.Errorf("the empty one gave %d, %v", n, err)
		}
		sum = sum*7%1000003 + 1
		_, err := unix.Write(busy, put(sum))
		return "", err
	}, err
}

// late is how far a timer may lag behind on a busy machine. It must never be early.
const late = 2 * time.Second

func monotonic() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return time.Duration(ts.Nano())
}

func timerfd(string) (step, error) {
	const interval = 10 * time.Millisecond
	newTimer := func(first, interval time.Duration, flags int) (int, time.Duration, error) {
		fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|flags)
		if err != nil {
			return -1, 0, err
		}
		begin := monotonic()
		return fd, begin, unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{
			Value: unix.NsecToTimespec(int64(first)), Interval: unix.NsecToTimespec(int64(interval)),
		}, nil)
	}
	periodic, begin, err := newTimer(interval, interval, unix.TFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	lazy, lazyBegin, err := newTimer(interval, interval, 0) // read once in 20 rounds
	if err != nil {
		return nil, err
	}
	once, onceBegin, err := newTimer(time.Hour, 0, 0)
	if err != nil {
		return nil, err
	}
	spent, spentBegin, err := newTimer(time.Millisecond, 0, 0) // never read after it fired
	if err != nil {
		return nil, err
	}
	idle, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, 0)
	ticks, lazyTicks, rounds := uint64(0), uint64(0), 0
	check := func(name string, fd int, begin time.Duration, ticks *uint64) error {
		n, err := take(fd)
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			return err
		}
		*ticks += n
		due := uint64((monotonic() - begin) / interval)
		if *ticks > due {
			return fmt.Errorf("%s: %d ticks after time for %d", name, *ticks, due)
		}
		if *ticks+uint64(late/interval) < due {
			return fmt.Errorf("%s: only %d ticks after time for %d", name, *ticks, due)
		}
		return nil
	}
	return func() (string, error) {
		if err := check("periodic", periodic, begin, &ticks); err != nil {
			return "", err
		}
		if rounds++; rounds%20 == 0 {
			if err := check("lazy", lazy, lazyBegin, &lazyTicks); err != nil {
				return "", err
			}
		}
		var spec unix.ItimerSpec
		before := monotonic()
		if err := unix.TimerfdGettime(once, &spec); err != nil {
			return "", err
		}
		left, want := time.Duration(spec.Value.Nano()), time.Hour-(before-onceBegin)
		if left > want+late || left < want-late {
			return "", fmt.Errorf("%v left of an hour, want %v", left, want)
		}
		if monotonic()-spentBegin > late {
			if got := fdinfo(spent, "ticks"); got != "1" {
				return "", fmt.Errorf("the spent timer shows %q ticks", got)
			}
		}
		if err := unix.TimerfdGettime(idle, &spec); err != nil || spec != (unix.ItimerSpec{}) {
			return "", fmt.Errorf("the idle timer is at %+v, %v", spec, err)
		}
		return fmt.Sprint(ticks), nil
	}, err
}

// queue sends a signal with a value to the process, or to thread tid of it.
func queue(sig, tid, value int) error {
	// siginfo_t: signo, errno, code, padding, then pid, uid and value for SI_QUEUE.
	info := make([]byte, 128)
	ne := binary.NativeEndian
	code := int32(-1) // SI_QUEUE
	ne.PutUint32(info, uint32(sig))
	ne.PutUint32(info[8:], uint32(code))
	ne.PutUint32(info[16:], uint32(os.Getpid()))
	ne.PutUint64(info[24:], uint64(value))
	at := uintptr(unsafe.Pointer(unsafe.SliceData(info)))
	var errno unix.Errno
	if tid == 0 {
		_, _, errno = unix.Syscall(unix.SYS_RT_SIGQUEUEINFO, uintptr(os.Getpid()), uintptr(sig), at)
	} else {
		_, _, errno = unix.Syscall6(unix.SYS_RT_TGSIGQUEUEINFO, uintptr(os.Getpid()), uintptr(tid), uintptr(sig), at, 0, 0)
	}
	if errno != 0 {
		return os.NewSyscallError("sigqueue", errno)
	}
	return nil
}

// signalfd reads signals that are queued to the process, three late.
func signalfd(string) (step, error) {
	var set unix.Sigset_t
	addSignal(&set, 40)
	addSignal(&set, 41)
	fd, err := unix.Signalfd(-1, &set, unix.SFD_NONBLOCK|unix.SFD_CLOEXEC)
	sent, read := 0, 0
	return func() (string, error) {
		for ; sent < read+4; sent++ {
			if err := queue(40, 0, sent); err != nil {
				return "", err
			}
		}
		buf := make([]byte, unsafe.Sizeof(unix.SignalfdSiginfo{}))
		if n, err := unix.Read(fd, buf); n != len(buf) {
			return "", fmt.Errorf("read %d: %w", n, err)
		}
		info := (*unix.SignalfdSiginfo)(unsafe.Pointer(&buf[0]))
		if info.Signo != 40 || int(info.Ptr) != read || int(info.Pid) != os.Getpid() {
			return "", fmt.Errorf("signal %d, value %d, from %d; want 40, %d, %d", info.Signo, info.Ptr, info.Pid, read, os.Getpid())
		}
		read++
		if got := fdinfo(fd, "sigmask"); got != fmt.Sprintf("%016x", set.Val[0]) {
			return "", fmt.Errorf("mask %q, want %016x", got, set.Val[0])
		}
		return "", nil
	}, err
}

// epoll has one entry of each sort.
func epoll(string) (step, error) {
	outer, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	inner, err := unix.EpollCreate1(0)
	if err != nil {
		return nil, err
	}
	add := func(ep int, name int32, events uint32) (int, error) {
		fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK)
		if err != nil {
			return -1, err
		}
		ev := &unix.EpollEvent{Events: events, Fd: name, Pad: 0x5eed}
		return fd, unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, ev)
	}
	const level, edge, oneshot, nested, removed, closed, innerName = 1, 2, 3, 4, 5, 6, 7
	fds := map[int32]int{}
	for name, where := range map[int32]struct {
		ep     int
		events uint32
	}{
		level: {outer, unix.EPOLLIN}, edge: {outer, unix.EPOLLIN | unix.EPOLLET},
		oneshot: {outer, unix.EPOLLIN | unix.EPOLLONESHOT}, nested: {inner, unix.EPOLLIN},
		removed: {outer, unix.EPOLLIN}, closed: {outer, unix.EPOLLIN},
	} {
		if fds[name], err = add(where.ep, name, where.events); err != nil {
			return nil, err
		}
	}
	if err := unix.EpollCtl(outer, unix.EPOLL_CTL_DEL, fds[removed], nil); err != nil {
		return nil, err
	}
	// An entry outlives its descriptor while another refers to the same
	// description; the number may then mean something else.
	if _, err := unix.Dup(fds[closed]); err != nil {
		return nil, err
	}
	if err := unix.Close(fds[closed]); err != nil {
		return nil, err
	}
	if err := unix.EpollCtl(outer, unix.EPOLL_CTL_ADD, inner, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: innerName, Pad: 0x5eed}); err != nil {
		return nil, err
	}
	for _, name := range []int32{edge, oneshot} {
		if _, err := unix.Write(fds[name], put(1)); err != nil {
			return nil, err
		}
	}
	wait := func(ep int) (map[int32]bool, error) {
		events := make([]unix.EpollEvent, 16)
		for {
			n, err := unix.EpollWait(ep, events, 0)
			if err == unix.EINTR {
				continue
			}
			got := map[int32]bool{}
			for _, e := range events[:max(n, 0)] {
				got[e.Fd] = true
				if e.Pad != 0x5eed || e.Events != unix.EPOLLIN {
					return nil, fmt.Errorf("event %+v", e)
				}
			}
			return got, err
		}
	}
	if _, err := wait(outer); err != nil { // the edge, and the only shot
		return nil, err
	}
	return func() (string, error) {
		for _, c := range []struct {
			ready []int32
			want  []int32
		}{
			{nil, nil}, {[]int32{level}, []int32{level}},
			{[]int32{nested}, []int32{innerName}}, {[]int32{removed}, nil},
			{[]int32{level, nested}, []int32{level, innerName}},
		} {
			for _, name := range c.ready {
				if _, err := unix.Write(fds[name], put(1)); err != nil {
					return "", err
				}
			}
			got, err := wait(outer)
			if err != nil {
				return "", err
			}
			delete(got, edge) // may be reported once more, epoll(7)
			want := map[int32]bool{}
			for _, name := range c.want {
				want[name] = true
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				return "", fmt.Errorf("ready %v: events %v, want %v", c.ready, got, want)
			}
			for _, name := range c.ready {
				if _, err := take(fds[name]); err != nil {
					return "", err
				}
			}
		}
		// A new edge is reported once.
		if _, err := unix.Write(fds[edge], put(1)); err != nil {
			return "", err
		}
		for _, want := range []bool{true, false} {
			if got, err := wait(outer); err != nil || got[edge] != want {
				return "", fmt.Errorf("edge reported %v (%v), want %v", got, err, want)
			}
		}
		return "", nil
	}, nil
}

// inotify watches two directories and a file, below numbers with gaps.
func inotify(dir string) (step, error) {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	wds := make([]int, 3)
	for i := range wds {
		sub := filepath.Join(dir, fmt.Sprintf("watched-%d", i))
		if err := os.Mkdir(sub, 0o755); err != nil {
			return nil, err
		}
		if wds[i], err = unix.InotifyAddWatch(fd, sub, unix.IN_CREATE|unix.IN_DELETE|unix.IN_ONLYDIR); err != nil {
			return nil, err
		}
	}
	if _, err := unix.InotifyRmWatch(fd, uint32(wds[1])); err != nil {
		return nil, err
	}
	if _, err := unix.Read(fd, make([]byte, 256)); err != nil { // IN_IGNORED
		return nil, err
	}
	missed := false
	return func() (string, error) {
		// Events that wait at the cut may be lost, in one round.
		for i := range wds {
			name := filepath.Join(dir, fmt.Sprintf("watched-%d", i), "new")
			if err := os.WriteFile(name, nil, 0o644); err != nil {
				return "", err
			}
			if err := os.Remove(name); err != nil {
				return "", err
			}
		}
		buf := make([]byte, 1024)
		n, err := unix.Read(fd, buf)
		if err == unix.EAGAIN && !missed {
			missed = true
			return "", nil
		}
		if err != nil {
			return "", fmt.Errorf("read: %w", err)
		}
		var got []string
		for at := 0; at < n; {
			e := (*unix.InotifyEvent)(unsafe.Pointer(&buf[at]))
			name := strings.TrimRight(string(buf[at+unix.SizeofInotifyEvent:at+unix.SizeofInotifyEvent+int(e.Len)]), "\x00")
			got = append(got, fmt.Sprintf("%d %#x %s", e.Wd, e.Mask, name))
			at += unix.SizeofInotifyEvent + int(e.Len)
		}
		var want []string
		for _, wd := range []int{wds[0], wds[2]} {
			want = append(want, fmt.Sprintf("%d %#x new", wd, unix.IN_CREATE), fmt.Sprintf("%d %#x new", wd, unix.IN_DELETE))
		}
		// Between the files and the read a cut may take any number of the
		// oldest events; no round ends with a surplus.
		if !strings.HasSuffix(strings.Join(want, ","), strings.Join(got, ",")) {
			return "", fmt.Errorf("events %v, want %v", got, want)
		}
		return "", nil
	}, nil
}
