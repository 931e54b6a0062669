//go:build linux

// Package partition keeps some processes of a world from exchanging packets with
// others, as if a cable were cut between their hosts. All of a world share one
// loopback device, so packets are told apart by the ports of their two ends, and
// ports by whose sockets they belong to.
package partition

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/pilotexec/pilot/internal/bpf"
	"github.com/pilotexec/pilot/internal/osthread"
	"github.com/pilotexec/pilot/internal/sys"
)

// A Side is one of the two halves.
type Side uint8

// The sides. A process that is on neither reaches both.
const (
	Neither Side = iota
	Cut          // of the member that is cut off
	Rest         // of the other members
)

// A Partition is there from Open until Close.
type Partition struct {
	ports   *ebpf.Map // local port -> side
	tasks   *ebpf.Map // process -> side
	program *ebpf.Program
	link    link.Link
}

const (
	mostPorts = 64 << 10
	mostTasks = 4 << 10
	// loopback is the index of the loopback device in every network namespace.
	loopback = 1
)

// ErrUnable means that this host cannot make partitions.
var ErrUnable = errors.New("partitions need Linux 6.10, CAP_BPF, and that pilot itself runs in the host's pid namespace")

// Open cuts the network namespace of process pid. Nothing is cut before sides
// have ports.
func Open(pid int) (p *Partition, err error) {
	if !bpf.HostPIDs() {
		return nil, ErrUnable
	}
	p = &Partition{}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	if p.ports, err = ebpf.NewMap(&ebpf.MapSpec{Name: "ports", Type: ebpf.LRUHash, KeySize: 4, ValueSize: 4, MaxEntries: mostPorts}); err != nil {
		return p, fmt.Errorf("map of ports: %w", err)
	}
	if p.tasks, err = ebpf.NewMap(&ebpf.MapSpec{Name: "tasks", Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: mostTasks}); err != nil {
		return p, fmt.Errorf("map of tasks: %w", err)
	}
	p.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "pilot_cut", Type: ebpf.SchedCLS, AttachType: ebpf.AttachTCXEgress, License: "GPL", Instructions: cut(p),
	})
	if err != nil {
		return p, fmt.Errorf("%w: %w", ErrUnable, err)
	}
	t := osthread.New()
	defer t.Close()
	err = t.Do(func() (err error) {
		if err := sys.Enter(pid, sys.NewNet); err != nil {
			return err
		}
		p.link, err = link.AttachTCX(link.TCXOptions{Interface: loopback, Program: p.program, Attach: ebpf.AttachTCXEgress})
		return err
	})
	if err != nil {
		return p, fmt.Errorf("attach to the world's loopback device: %w", err)
	}
	return p, nil
}

// Port says on whose side a local port is.
func (p *Partition) Port(port uint16, side Side) error {
	return p.ports.Put(uint32(port), uint32(side))
}

// Task says on whose side connections are that a process makes from now on. It
// is the host's number of the process.
func (p *Partition) Task(pid int, side Side) error {
	return p.tasks.Put(uint32(pid), uint32(side))
}

// Close heals the network.
func (p *Partition) Close() error {
	var errs []error
	if p.link != nil {
		errs = append(errs, p.link.Close())
	}
	if p.program != nil {
		errs = append(errs, p.program.Close())
	}
	for _, m := range []*ebpf.Map{p.ports, p.tasks} {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("heal partition: %w", err)
	}
	return nil
}
