//go:build linux

package unwind

import (
	"debug/buildinfo"
	"debug/dwarf"
	"debug/elf"
	"fmt"
	"go/version"
)

// Goroutines says where programs made with Go keep what tells goroutines apart:
// offsets in the runtime's struct g. 0 is for what is not known.
type Goroutines struct {
	ID     uint32 // its number
	Parent uint32 // the number of the one that started it
	Start  uint32 // the address behind the go statement
}

// GoroutinesOf reads a program. ok is false for one that is not made with Go, or
// in a way that is not known here.
func GoroutinesOf(path string) (g Goroutines, ok bool, err error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return g, false, nil // not Go's
	}
	if g, err = described(path); err == nil {
		return g, true, nil
	}
	g = layoutOf(info.GoVersion)
	return g, g.ID != 0, nil
}

// layoutOf knows the struct without being told: most programs that are
// distributed have lost their debugging information. Of other versions than these
// nothing is better than a wrong number.
func layoutOf(goVersion string) Goroutines {
	if version.Lang(goVersion) == "go1.26" {
		return Goroutines{ID: 152, Parent: 280, Start: 288}
	}
	return Goroutines{}
}

// described asks a program's debugging information.
func described(path string) (g Goroutines, err error) {
	f, err := elf.Open(path)
	if err != nil {
		return g, err
	}
	defer f.Close()
	d, err := f.DWARF()
	if err != nil {
		return g, err
	}
	r := d.Reader()
	for {
		e, err := r.Next()
		if err != nil {
			return g, err
		}
		if e == nil {
			return g, fmt.Errorf("%s: no runtime.g", path)
		}
		if e.Tag == dwarf.TagSubprogram {
			r.SkipChildren()
		}
		if e.Tag != dwarf.TagStructType || e.Val(dwarf.AttrName) != "runtime.g" {
			continue
		}
		t, err := d.Type(e.Offset)
		if err != nil {
			return g, err
		}
		fields := t.(*dwarf.StructType).Field
		for _, field := range fields {
			switch field.Name {
			case "goid":
				g.ID = uint32(field.ByteOffset)
			case "parentGoid":
				g.Parent = uint32(field.ByteOffset)
			case "gopc":
				g.Start = uint32(field.ByteOffset)
			}
		}
		if g.ID == 0 {
			return g, fmt.Errorf("%s: runtime.g has no goid", path)
		}
		return g, nil
	}
}
