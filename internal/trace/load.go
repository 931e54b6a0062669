//go:build linux

package trace

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/pilotexec/pilot/internal/bpf"
)

// Sizes of the maps. The ring has what comes between two looks at it.
const (
	ringBytes = 8 << 20
	fullBytes = 32 << 20 // at level Full
	mostSocks = 32 << 10
	mostFiles = 64 << 10
)

// maps are what the programs share with the agent.
type maps struct {
	calls   *ebpf.Map    // what is to be told of a system call, by its number
	spaces  *ebpf.Map    // pid namespace -> world
	nets    *ebpf.Map    // network namespace -> world
	begun   *ebpf.Map    // thread -> when its call began
	socks   *ebpf.Map    // socket -> what is kept of it
	bases   *ebpf.Map    // inode of a socket -> bytes sent and received before the release
	files   *ebpf.Map    // inode, process, world -> bytes and calls
	tasks   *ebpf.Map    // process, by the agent's number -> unwind.Goroutines
	lost    *ebpf.Map    // records that found no room
	ring    *ebpf.Map    // records
	scratch [6]*ebpf.Map // a record for each program: one may interrupt another
}

func newMaps(level Level) (m *maps, err error) {
	m = &maps{}
	ring := uint32(ringBytes)
	if level == Full {
		ring = fullBytes
	}
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	specs := []struct {
		to   **ebpf.Map
		name string
		spec ebpf.MapSpec
	}{
		{&m.calls, "calls", ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 512}},
		{&m.spaces, "spaces", ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 256}},
		{&m.nets, "nets", ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 256}},
		{&m.begun, "begun", ebpf.MapSpec{Type: ebpf.LRUHash, KeySize: 8, ValueSize: 8, MaxEntries: 64 << 10}},
		{&m.socks, "socks", ebpf.MapSpec{Type: ebpf.LRUHash, KeySize: 8, ValueSize: sockSize, MaxEntries: mostSocks}},
		{&m.bases, "bases", ebpf.MapSpec{Type: ebpf.Hash, KeySize: 8, ValueSize: 16, MaxEntries: mostSocks, Flags: noPrealloc}},
		{&m.files, "files", ebpf.MapSpec{Type: ebpf.Hash, KeySize: 16, ValueSize: 16, MaxEntries: mostFiles, Flags: noPrealloc}},
		{&m.tasks, "tasks", ebpf.MapSpec{Type: ebpf.LRUHash, KeySize: 4, ValueSize: 12, MaxEntries: 4096}},
		{&m.lost, "lost", ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1}},
		{&m.ring, "ring", ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: ring}},
	}
	for i := range m.scratch {
		specs = append(specs, struct {
			to   **ebpf.Map
			name string
			spec ebpf.MapSpec
		}{&m.scratch[i], "scratch", ebpf.MapSpec{Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: longSize, MaxEntries: 1}})
	}
	for _, s := range specs {
		s.spec.Name = s.name
		if *s.to, err = ebpf.NewMap(&s.spec); err != nil {
			return nil, fmt.Errorf("map %s: %w", s.name, err)
		}
	}
	return m, nil
}

// noPrealloc is BPF_F_NO_PREALLOC: memory for what is there, not for the most.
const noPrealloc = 1

func (m *maps) close() {
	for _, one := range append([]*ebpf.Map{m.calls, m.spaces, m.nets, m.begun, m.socks, m.bases, m.files, m.tasks, m.lost, m.ring}, m.scratch[:]...) {
		if one != nil {
			_ = one.Close()
		}
	}
}

// load hands the programs to the kernel, which checks them.
func load(l *layout, m *maps, level Level) (all []*bpf.Program, err error) {
	for nr, what := range callTable(level) {
		if err := m.calls.Put(nr, what); err != nil {
			return nil, err
		}
	}
	type point struct {
		name string
		code asm.Instructions
	}
	points := []point{
		{"sched_process_fork", fork(l, m)},
		{"sched_process_exec", execed(l, m)},
		{"sched_process_exit", gone(l, m)},
		{"signal_deliver", signal(l, m)},
		{"inet_sock_set_state", state(l, m)},
		{"sys_exit", exit(l, m, level)},
	}
	if level == Full { // every call of every process on the host passes here
		points = append(points, point{"sys_enter", enter(l, m)})
	}
	for _, p := range points {
		prog, err := bpf.Load(p.name, p.code)
		if err != nil {
			return nil, errors.Join(err, bpf.CloseAll(all))
		}
		all = append(all, prog)
	}
	return all, nil
}
