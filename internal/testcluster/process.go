//go:build linux

package testcluster

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// starter runs the functions that start processes on one thread that never
// ends. A parent-death signal is sent when the *thread* that started the child
// dies, see prctl(2), and the Go runtime ends threads as it likes.
var starter = sync.OnceValue(func() chan func() {
	reqs := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range reqs {
			f()
		}
	}()
	return reqs
})

// process is a child in a process group of its own.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when the child has been waited for
}

// startProcess starts cmd. The kernel kills it when this process dies.
func startProcess(cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	starter() <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, exited: make(chan struct{})}
	go func() {
		defer close(p.exited)
		// The result is in cmd.ProcessState.
		_ = cmd.Wait()
	}()
	return p, nil
}

func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// signal sends sig to the process group unless its leader has been waited for:
// the number may belong to another group by then.
func (p *process) signal(sig syscall.Signal) {
	if p.running() {
		_ = syscall.Kill(-p.cmd.Process.Pid, sig)
	}
}

// stop ends the process: politely at first if grace is not 0.
func (p *process) stop(grace time.Duration) {
	if grace > 0 {
		p.signal(syscall.SIGTERM)
		select {
		case <-p.exited:
			return
		case <-time.After(grace):
		}
	}
	p.signal(syscall.SIGKILL)
	<-p.exited
}
