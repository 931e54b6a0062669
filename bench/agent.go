//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/agent"
	"github.com/pilotexec/pilot/internal/capture"
	"github.com/pilotexec/pilot/internal/collapse"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/osthread"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
)

// The tracer must not be the parent of its tracees, so the program is executed
// again under this name.
const agentName = "pilot-bench-agent"

// request is what the agent is to measure.
type request struct {
	What   string // one of the words in agentMain
	PID    int
	Rounds int
	Spec   model.Spec // of a run
	Dir    string
}

// answer has one time of each round.
type answer struct {
	Times  []time.Duration
	Pauses []model.Pause
	Report *model.Report
	// Released is how long after the command the worlds ran.
	Released  time.Duration
	Moments   []moment // of a run
	Worlds    []footprint
	Collapsed collapse.Outcome
	Err       string
}

// ask has an agent measure.
func ask(r request) (a answer, err error) {
	input, err := json.Marshal(r)
	if err != nil {
		return a, err
	}
	var out bytes.Buffer
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{agentName}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return a, fmt.Errorf("agent: %w", err)
	}
	if err := json.Unmarshal(out.Bytes(), &a); err != nil {
		return a, err
	}
	if a.Err != "" {
		return a, errors.New(a.Err)
	}
	return a, nil
}

func agentMain() {
	var r request
	if err := json.NewDecoder(os.Stdin).Decode(&r); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var a answer
	var err error
	switch r.What {
	case "pause":
		for range r.Rounds {
			if err = a.pause([]model.Member{{Name: "victim", PID: r.PID}}); err != nil {
				break
			}
		}
	case "pauses":
		for range r.Rounds {
			if err = a.pause(r.Spec.Members); err != nil {
				break
			}
		}
	case "ptrace":
		err = a.repeat(r.Rounds, func() error { return ptraceAll(r.PID) })
	case "sockets":
		err = a.repeat(r.Rounds, func() error { return lookAtSockets(r.PID) })
	case "run":
		began := time.Now()
		a.Report, err = agent.Engine{}.Run(context.Background(), r.Spec, r.Dir, func(phase, _ string) {
			a.Moments = append(a.Moments, moment{phase, time.Now()})
			if phase == "act" {
				a.Released = time.Since(began)
			}
		})
	case "worlds":
		err = a.worlds(r.PID, r.Dir)
	case "collapse":
		err = a.collapse(r.PID)
	}
	if err != nil {
		a.Err = err.Error()
	}
	_ = json.NewEncoder(os.Stdout).Encode(a)
}

// pause takes a snapshot and lets it go.
func (a *answer) pause(members []model.Member) error {
	tracer := osthread.New()
	defer tracer.Close()
	return tracer.Do(func() error {
		snap, err := capture.Take(context.Background(), capture.Config{
			Members: members, MaxPause: 10 * time.Second,
		})
		if err != nil {
			return err
		}
		a.Times, a.Pauses = append(a.Times, snap.Pause.Total), append(a.Pauses, snap.Pause)
		return snap.Close()
	})
}

// repeat measures what act does on one thread.
func (a *answer) repeat(n int, act func() error) error {
	thread := osthread.New()
	defer thread.Close()
	return thread.Do(func() error {
		for range n {
			began := time.Now()
			if err := act(); err != nil {
				return err
			}
			a.Times = append(a.Times, time.Since(began))
		}
		return nil
	})
}

// ptraceAll stops every thread, reads its registers, and lets all go.
func ptraceAll(pid int) error {
	tids, err := procfs.Tasks(pid)
	if err != nil {
		return err
	}
	for _, tid := range tids {
		if err := errors.Join(sys.Seize(tid, 0), sys.Interrupt(tid)); err != nil {
			return err
		}
	}
	for _, tid := range tids {
		var ws syscall.WaitStatus
		const all = 0x40000000 // __WALL
		if _, err := syscall.Wait4(tid, &ws, all, nil); err != nil {
			return err
		}
	}
	for _, tid := range tids {
		var regs sys.Regs
		if err := sys.GetRegs(tid, &regs); err != nil {
			return err
		}
	}
	for _, tid := range tids {
		if err := sys.Detach(tid, 0); err != nil {
			return err
		}
	}
	return nil
}

// lookAtSockets asks the kernel about every TCP socket by a duplicate.
func lookAtSockets(pid int) error {
	pidfd, err := sys.PidfdOpen(pid)
	if err != nil {
		return err
	}
	defer pidfd.Close()
	fds, err := procfs.FDs(pid)
	if err != nil {
		return err
	}
	for _, n := range fds {
		fd, err := sys.PidfdGetFD(pidfd, n)
		if err != nil {
			return err
		}
		_, _ = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_NODELAY) // fails for pipes
		_ = fd.Close()
	}
	return nil
}
