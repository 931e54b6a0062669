//go:build linux

package unwind

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/procfs"
)

// A perfMap has the names of code that a process has generated: a Java virtual
// machine writes one when it is asked to (package hotspot), Node.js, .NET and
// CPython when they are told so at their start.
type perfMap struct {
	path   string
	looked time.Time
	size   int64
	funcs  []generated // by address
}

type generated struct {
	start, end uint64
	name       string
}

const (
	// lookAgain is how often a map is looked at: it grows.
	lookAgain = time.Second
	// mostMap bounds what is read of one, in bytes.
	mostMap = 64 << 20
)

// generatedCode names code of a process that is in no file.
func (n *Names) generatedCode(tid int, addr uint64) (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m, known := n.maps[tid]
	if !known {
		if n.maps == nil {
			n.maps = map[int]*perfMap{}
		}
		m = &perfMap{}
		// tools/perf/Documentation/jit-interface.txt of the kernel.
		if s, err := procfs.ReadStatus(tid); err == nil {
			if lead, err := procfs.ReadStatus(s.Tgid); err == nil {
				m.path = fmt.Sprintf("/proc/%d/root/tmp/perf-%d.map", s.Tgid, lead.NSpid[len(lead.NSpid)-1])
			}
		}
		n.maps[tid] = m
	}
	m.read()
	i, exact := slices.BinarySearchFunc(m.funcs, addr, func(g generated, at uint64) int { return cmp.Compare(g.start, at) })
	if !exact {
		i--
	}
	if i < 0 || addr >= m.funcs[i].end {
		return "", false
	}
	return m.funcs[i].name, true
}

// Reread has the maps of generated code looked at again with the next frame.
func (n *Names) Reread() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range n.maps {
		m.looked = time.Time{}
	}
}

// read reads the map again if it has changed.
func (m *perfMap) read() {
	if m.path == "" || time.Since(m.looked) < lookAgain {
		return
	}
	m.looked = time.Now()
	fi, err := os.Stat(m.path)
	if err != nil || !fi.Mode().IsRegular() || fi.Size() == m.size {
		return
	}
	f, err := os.Open(m.path)
	if err != nil {
		return
	}
	defer f.Close()
	m.size, m.funcs = fi.Size(), parsePerfMap(io.LimitReader(f, mostMap))
}

// parsePerfMap reads lines of "START SIZE NAME", both numbers hexadecimal. Where
// code was replaced the later line counts.
func parsePerfMap(r io.Reader) (funcs []generated) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		start, rest, _ := strings.Cut(lines.Text(), " ")
		size, name, _ := strings.Cut(rest, " ")
		at, err := strconv.ParseUint(strings.TrimPrefix(start, "0x"), 16, 64)
		length, lerr := strconv.ParseUint(strings.TrimPrefix(size, "0x"), 16, 64)
		if err != nil || lerr != nil || name == "" || at+length < at {
			continue
		}
		funcs = append(funcs, generated{at, at + length, strings.ToValidUTF8(name, "?")})
	}
	slices.SortStableFunc(funcs, func(a, b generated) int { return cmp.Compare(a.start, b.start) })
	return funcs
}
