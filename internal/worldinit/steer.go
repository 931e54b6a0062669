//go:build linux

package worldinit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// A steered is a process of ours that has not begun to run: it stands where
// execve(2) has left it, with one thread, and makes the calls that it is told.
type steered struct {
	pid     int
	mem     *os.File
	gadget  uint64   // address of a "syscall" instruction
	began   sys.Regs // to go on from
	scratch uint64   // address of memory that nothing is in yet
}

// steerOptions bind its life to the calling thread's. Children inherit them.
const steerOptions = sys.OptSysGood | sys.OptFork | sys.OptClone | sys.OptExitKill

// steerTimeout bounds each wait for a steered process.
const steerTimeout = 20 * time.Second

// steer takes a process in hand that was started with SysProcAttr.Ptrace by the
// calling thread.
func steer(pid int) (s *steered, err error) {
	s = &steered{pid: pid}
	if _, err := s.wait(); err != nil {
		return nil, err
	}
	if err := sys.SetOptions(pid, steerOptions); err != nil {
		return nil, err
	}
	if err := sys.GetRegs(pid, &s.began); err != nil {
		return nil, err
	}
	s.began.Orig_rax = ^uint64(0)       // execve is over: nothing is to be restarted
	s.scratch = s.began.Rsp - scratched // the kernel maps more than that, setup_arg_pages in fs/exec.c
	if err := s.openMemory(); err != nil {
		return nil, err
	}
	return s, s.findGadget()
}

// scratched is how much memory below the stack is used, in bytes.
const scratched = 8 << 10

func (s *steered) openMemory() (err error) {
	s.mem, err = os.OpenFile(fmt.Sprintf("/proc/%d/mem", s.pid), os.O_RDWR, 0)
	return err
}

// findGadget looks for the instruction in the program itself.
func (s *steered) findGadget() error {
	vmas, err := procfs.Maps(s.pid)
	if err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for _, v := range vmas {
		for at := v.Start; v.Exec && at < v.End; at += uint64(len(buf)) {
			n, _ := s.mem.ReadAt(buf[:min(uint64(len(buf)), v.End-at)], int64(at))
			if i := bytes.Index(buf[:n], []byte{0x0f, 0x05}); i >= 0 {
				s.gadget = at + uint64(i)
				return nil
			}
		}
	}
	return errors.New("no syscall instruction")
}

// wait returns the next stop.
func (s *steered) wait() (ws syscall.WaitStatus, err error) {
	for deadline := time.Now().Add(steerTimeout); ; sys.Nanosleep(int64(20 * time.Microsecond)) {
		got, ws, err := sys.TryWait(s.pid)
		switch {
		case err != nil:
			return ws, err
		case got != 0 && ws.Stopped():
			return ws, nil
		case got != 0:
			return ws, fmt.Errorf("process %d ended (status %#x)", s.pid, int(ws))
		case time.Now().After(deadline):
			return ws, fmt.Errorf("process %d does not stop", s.pid)
		}
	}
}

// call makes one system call, and tells the process that it made.
func (s *steered) call(nr uintptr, args ...uint64) (ret int64, child int, err error) {
	var a [6]uint64
	copy(a[:], args)
	regs := s.began
	regs.Rip, regs.Rax = s.gadget, uint64(nr)
	regs.Rdi, regs.Rsi, regs.Rdx, regs.R10, regs.R8, regs.R9 = a[0], a[1], a[2], a[3], a[4], a[5]
	if err := sys.SetRegs(s.pid, &regs); err != nil {
		return 0, 0, err
	}
	for stops := 0; stops < 2; { // at its entry and at its exit
		if err := sys.ContSyscall(s.pid); err != nil {
			return 0, 0, err
		}
		ws, err := s.wait()
		if err != nil {
			return 0, 0, err
		}
		if ws.StopSignal() == syscall.SIGTRAP|0x80 {
			stops++
		} else if int(uint32(ws)>>16) != 0 {
			msg, err := sys.EventMsg(s.pid)
			if err != nil {
				return 0, 0, err
			}
			child = int(msg)
		}
	}
	if err := sys.GetRegs(s.pid, &regs); err != nil {
		return 0, 0, err
	}
	if ret = int64(regs.Rax); ret < 0 && ret >= -4095 {
		return ret, child, syscall.Errno(-ret)
	}
	return ret, child, nil
}

// fork makes a child of the parent's parent, in the namespaces that flags name
// anew. Where the process is a guest in a pid namespace, its children would fall
// to that namespace's number 1; those of its parent, who is outside, do not.
func (s *steered) fork(flags uint64) (*steered, error) {
	_, pid, err := s.call(unix.SYS_CLONE, flags|unix.CLONE_PARENT)
	if err != nil {
		return nil, err
	}
	child := &steered{pid: pid, gadget: s.gadget, began: s.began, scratch: s.scratch}
	if _, err := child.wait(); err != nil {
		return nil, err
	}
	return child, child.openMemory()
}

// writeFile makes the process write to a file.
func (s *steered) writeFile(path, text string) error {
	if len(path) >= 256 || 256+len(text) > scratched {
		return errors.New("too long")
	}
	if _, err := s.mem.WriteAt(append([]byte(path), 0), int64(s.scratch)); err != nil {
		return err
	}
	if _, err := s.mem.WriteAt([]byte(text), int64(s.scratch)+256); err != nil {
		return err
	}
	fd, _, err := s.call(unix.SYS_OPEN, s.scratch, unix.O_WRONLY)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	n, _, err := s.call(unix.SYS_WRITE, uint64(fd), s.scratch+256, uint64(len(text)))
	if err == nil && int(n) != len(text) {
		err = fmt.Errorf("%d bytes of %d were taken", n, len(text))
	}
	if err != nil {
		return &os.PathError{Op: "write", Path: path, Err: err}
	}
	_, _, err = s.call(unix.SYS_CLOSE, uint64(fd))
	return err
}

// release lets the process run, from where it began.
func (s *steered) release() error {
	if err := sys.SetRegs(s.pid, &s.began); err != nil {
		return err
	}
	_ = s.mem.Close()
	return sys.Detach(s.pid, 0)
}

// end kills the process and reaps it.
func (s *steered) end() {
	if s.mem != nil {
		_ = s.mem.Close()
	}
	_ = unix.Kill(s.pid, unix.SIGKILL)
	for {
		if _, err := s.wait(); err != nil {
			return
		}
	}
}
