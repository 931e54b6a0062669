//go:build linux

package bpf

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// A Program is run by the kernel at a tracepoint, from Attach until Close.
type Program struct {
	point   string
	program *ebpf.Program
	link    link.Link // nil before
}

// Load hands code to the kernel, which checks it. It is for the raw tracepoint
// of that name, whose arguments it gets.
func Load(point string, code asm.Instructions) (*Program, error) {
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "pilot_" + point[:min(len(point), 9)], Type: ebpf.Tracing, AttachType: ebpf.AttachTraceRawTp, AttachTo: point,
		License: "GPL", Instructions: code,
	})
	if err != nil {
		return nil, fmt.Errorf("program for tracepoint %s: %w", point, err)
	}
	return &Program{point: point, program: prog}, nil
}

// Attach has the kernel run the program from now on.
func (p *Program) Attach() (err error) {
	if p.link, err = link.AttachTracing(link.TracingOptions{Program: p.program}); err != nil {
		return fmt.Errorf("tracepoint %s: %w", p.point, err)
	}
	return nil
}

// Close ends it. It may be closed without having been attached.
func (p *Program) Close() error {
	if p.link == nil {
		return p.program.Close()
	}
	return errors.Join(p.link.Close(), p.program.Close())
}

// Missed is how often the kernel did not run the program because it had
// interrupted itself.
func (p *Program) Missed() uint64 {
	stats, err := p.program.Stats()
	if err != nil {
		return 0 // before Linux 5.12 it does not tell
	}
	return stats.RecursionMisses
}

// CloseAll closes programs.
func CloseAll(all []*Program) error {
	var errs []error
	for _, p := range all {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}

// HostPIDs reports whether this process calls others by the numbers that
// programs get: it is in the host's pid namespace (PROC_PID_INIT_INO,
// include/linux/proc_ns.h).
func HostPIDs() bool {
	space, err := os.Readlink("/proc/self/ns/pid")
	return err == nil && space == "pid:[4026531836]"
}
