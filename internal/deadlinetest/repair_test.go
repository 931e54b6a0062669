//go:build linux

package deadlinetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"
	"unsafe"

	"github.com/pilotexec/pilot/internal/kobj"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/tracee"
	"golang.org/x/sys/unix"
)

// full are two members with connections that hold more than there is room for.
func full(t *testing.T) (s *scene, reader, writer *victim) {
	t.Helper()
	if batch, err := sys.NewSocketBatch(); errors.Is(err, sys.ErrNotSupported) && os.Getenv("PILOT_REQUIRE_PRIVILEGED") == "" {
		t.Skip(err) // then no socket is ever in repair mode
	} else if err != nil {
		t.Fatal(err)
	} else {
		_ = batch.Close()
	}
	s = newScene(t)
	reader = s.start(t, 1, "sip", 7412, 6)
	writer = s.start(t, 2, "gush", 7412, 6)
	waitFor(t, "the connections are full", func() bool {
		for _, fd := range streams(t, writer.pid) {
			if waiting(t, fd) < 200<<10 {
				return false
			}
		}
		return true
	})
	return s, reader, writer
}

// streams duplicates the TCP connections of a process. The test closes them.
func streams(t *testing.T, pid int) (out []int) {
	t.Helper()
	pidfd, err := sys.PidfdOpen(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer pidfd.Close()
	fds, err := procfs.FDs(pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range fds {
		fd, err := sys.PidfdGetFD(pidfd, n)
		if err != nil {
			continue
		}
		if _, err := unix.Getpeername(int(fd)); err != nil {
			_ = fd.Close()
			continue
		}
		out = append(out, int(fd))
		t.Cleanup(func() { _ = fd.Close() })
	}
	return out
}

// waiting is how much a socket has not been told to be received.
func waiting(t *testing.T, fd int) int {
	t.Helper()
	n, err := unix.IoctlGetInt(fd, unix.TIOCOUTQ)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func option(t *testing.T, fd, level, name int) int {
	t.Helper()
	n, err := unix.GetsockoptInt(fd, level, name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// mended wants every connection of the victims to be out of repair mode, with
// the SO_REUSEADDR that it had, and every byte to be right.
func (s *scene) mended(t *testing.T, reuse map[int]int) {
	t.Helper()
	for fd, want := range reuse {
		if option(t, fd, unix.IPPROTO_TCP, unix.TCP_REPAIR) != 0 {
			t.Error("a socket of production was left in repair mode")
		}
		if got := option(t, fd, unix.SOL_SOCKET, unix.SO_REUSEADDR); got != want {
			t.Errorf("SO_REUSEADDR is %d, was %d", got, want)
		}
	}
	for _, v := range s.victims {
		v.unharmed(t)
		at := v.work()
		waitFor(t, v.mode+" has moved megabytes", func() bool {
			moved := v.work() - at
			return v.bad() != "" || moved > 2<<20 || v.mode == "gush" && moved > 40
		})
		if bad := v.bad(); bad != "" {
			t.Errorf("%s: %s", v.mode, bad)
		}
	}
}

// reuse notes SO_REUSEADDR of the connections; one has it set.
func (s *scene) reuse(t *testing.T) map[int]int {
	t.Helper()
	out := map[int]int{}
	for _, v := range s.victims {
		for i, fd := range streams(t, v.pid) {
			if i == 0 {
				if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
					t.Fatal(err)
				}
			}
			out[fd] = option(t, fd, unix.SOL_SOCKET, unix.SO_REUSEADDR)
		}
	}
	return out
}

// TestPrivFullConnections captures full connections, and kills agents that do.
func TestPrivFullConnections(t *testing.T) {
	s, _, _ := full(t)
	reuse := s.reuse(t)
	sums := sum(s.take(t, 5, usualLimit), s.victims...)
	sums.within(t, usualLimit)
	if sums.worked == 0 {
		t.Error("no snapshot worked")
	}
	s.mended(t, reuse)
	row(t, "12 ends of full connections", usualLimit, sums, "")
	killed := 0
	for i := range 20 {
		a := s.agent(t, 1, usualLimit)
		done := ended(a.cmd)
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
			moment := time.Duration(i%8+1) * 600 * time.Microsecond // after the heart's last beat
			if s.victims[0].silent() > moment && s.victims[1].silent() > moment {
				killed++
				break
			}
			select {
			case <-done:
				deadline = time.Now()
			default:
			}
		}
		_ = a.cmd.Process.Kill()
		<-done
		s.mended(t, reuse)
	}
	t.Logf("%d agents killed", killed)
}

// noBatchAgent has no io_uring.
const noBatchAgent = "no batch"

// forbidURing makes io_uring_setup fail in this process, seccomp(2).
func forbidURing() error {
	const filter, allThreads = 1, 1 // SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number of the call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_IO_URING_SETUP, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, filter, allThreads, uintptr(unsafe.Pointer(&prog))); errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	return nil
}

// repairAgent stops both victims and reads a full queue into memory whose pages
// never come, so that it stays where the socket is in repair mode.
const repairAgent = "repair"

// TestPrivKillInRepair kills an agent while a socket of production is in repair
// mode, which no real agent stays in for longer than a copy takes.
func TestPrivKillInRepair(t *testing.T) {
	s, reader, writer := full(t)
	reuse := s.reuse(t)
	a := s.agentAs(t, repairAgent, 1, usualLimit)
	if !a.out.Scan() {
		t.Fatal("the agent did not come so far")
	}
	inRepair := func() (n int) {
		for fd := range reuse {
			n += option(t, fd, unix.IPPROTO_TCP, unix.TCP_REPAIR)
		}
		return n
	}
	waitFor(t, "a socket is in repair mode", func() bool { return inRepair() == 1 })
	beats := reader.count() + writer.count()
	time.Sleep(3 * time.Millisecond) // a heart that is not stopped would beat
	if reader.count()+writer.count() != beats {
		t.Error("production runs")
	}
	began := time.Now()
	_ = a.cmd.Process.Kill()
	took := s.freed(t)
	if n := inRepair(); n != 0 {
		t.Errorf("%d sockets are in repair mode, and production runs", n)
	}
	_ = a.cmd.Wait()
	s.mended(t, reuse)
	row(t, "agent killed while a socket is in repair mode", usualLimit, tally{failed: 1, stopped: took}, "all %d connections right after %v", len(reuse)/2, time.Since(began).Round(time.Millisecond))
}

// stayInRepair is the agent's part.
func stayInRepair(req request) error {
	batch, err := sys.NewSocketBatch()
	if err != nil {
		return err
	}
	limit := tracee.NewLimit(context.Background(), time.Now().Add(time.Minute))
	for _, m := range req.Members {
		o, err := tracee.Open(m.PID)
		if err != nil {
			return err
		}
		if err := o.Interrupt(); err != nil {
			return err
		}
		if err := o.WaitStopped(limit); err != nil {
			return err
		}
	}
	writer := req.Members[1].PID
	pidfd, err := sys.PidfdOpen(writer)
	if err != nil {
		return err
	}
	fds, err := procfs.FDs(writer)
	if err != nil {
		return err
	}
	for _, n := range fds {
		fd, err := sys.PidfdGetFD(pidfd, n)
		if err != nil {
			continue
		}
		if waiting, err := unix.IoctlGetInt(int(fd), unix.TIOCOUTQ); err != nil || waiting < 100<<10 {
			continue
		}
		if _, err := unix.Getpeername(int(fd)); err != nil {
			continue
		}
		buf, err := absent(256 << 10)
		if err != nil {
			return err
		}
		fmt.Println("now")
		_, err = kobj.PeekSendQueue(batch, fd, buf)
		return fmt.Errorf("peeked: %w", err)
	}
	return errors.New("no full connection")
}

// absent returns memory that nobody fills: to touch it is to wait for ever, or
// for a fatal signal. See userfaultfd(2).
func absent(size int) ([]byte, error) {
	const api, register, missing = 0xc018aa3f, 0xc020aa00, 1 // include/uapi/linux/userfaultfd.h
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC, 0, 0)
	if errno != 0 {
		return nil, os.NewSyscallError("userfaultfd", errno)
	}
	hello := [3]uint64{0xaa}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, api, uintptr(unsafe.Pointer(&hello))); errno != 0 {
		return nil, os.NewSyscallError("ioctl uffdio_api", errno)
	}
	buf, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	where := [4]uint64{uint64(uintptr(unsafe.Pointer(&buf[0]))), uint64(size), missing}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, register, uintptr(unsafe.Pointer(&where))); errno != 0 {
		return nil, os.NewSyscallError("ioctl uffdio_register", errno)
	}
	return buf, nil
}

// TestPrivNoBatch has no way to read send queues safely, as older kernels have
// none: the connections are lost in a world, and production's are left alone.
func TestPrivNoBatch(t *testing.T) {
	s, _, _ := full(t)
	reuse := s.reuse(t)
	a := s.agentAs(t, noBatchAgent, 1, usualLimit)
	if o, ok := a.next(t); !ok || o.Err != "" {
		t.Errorf("it fails: %v", o.Err)
	}
	_ = a.cmd.Wait()
	s.mended(t, reuse)
}
