//go:build linux

package bpf

import (
	"fmt"

	"github.com/cilium/ebpf/btf"
)

// A Layout says where the running kernel keeps what a program reads. The kernel
// tells it itself, in its type information.
type Layout struct{ spec *btf.Spec }

// ReadLayout reads the type information of the running kernel.
func ReadLayout() (Layout, error) {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		return Layout{}, fmt.Errorf("type information of the kernel: %w", err)
	}
	return Layout{spec}, nil
}

// Offset returns where a struct has a member, which path leads to.
func (l Layout) Offset(name string, path ...string) (int32, error) {
	var s *btf.Struct
	err := l.spec.TypeByName(name, &s)
	if err != nil {
		return 0, fmt.Errorf("struct %s: %w", name, err)
	}
	at, err := offset(s, path)
	if err != nil {
		return 0, fmt.Errorf("struct %s: %w", name, err)
	}
	return at, nil
}

// Constant returns the value of a name of an enum.
func (l Layout) Constant(enum, name string) (uint64, error) {
	var e *btf.Enum
	if err := l.spec.TypeByName(enum, &e); err != nil {
		return 0, fmt.Errorf("enum %s: %w", enum, err)
	}
	for _, v := range e.Values {
		if v.Name == name {
			return v.Value, nil
		}
	}
	return 0, fmt.Errorf("enum %s: no %s", enum, name)
}

// offset follows members by their names, into structs and unions without one.
func offset(t btf.Type, path []string) (int32, error) {
	if len(path) == 0 {
		return 0, nil
	}
	for _, m := range members(t) {
		rest := path
		if m.Name == path[0] {
			rest = path[1:]
		} else if m.Name != "" {
			continue
		}
		if at, err := offset(m.Type, rest); err == nil {
			return at + int32(m.Offset.Bytes()), nil
		}
	}
	return 0, fmt.Errorf("no member %v", path)
}

func members(t btf.Type) []btf.Member {
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Struct:
		return t.Members
	case *btf.Union:
		return t.Members
	}
	return nil
}
