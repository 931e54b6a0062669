//go:build linux

package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Prefix begins the name of every group that pilot makes.
const Prefix = "pilot-"

// Limits bound a group and all below it. What is 0 is not limited.
type Limits struct {
	Memory int64 // bytes
	PIDs   int   // processes and threads
	// CPUWeight is the share of the processor under contention; DefaultWeight is
	// that of any other group.
	CPUWeight int
}

// DefaultWeight is the weight of a group that nobody has given one.
const DefaultWeight = 100

// A Run is the group of one run, in each hierarchy. No process is in it
// directly: version 2 wants them in the leaves.
type Run struct {
	places []place
	groups []*Group
	// Missing says of each controller that is not in force why.
	Missing []string
}

// place is the run's group in one hierarchy.
type place struct {
	Hierarchy
	dir  string
	lock *os.File
}

// New makes the group Prefix+name. The caller closes it. It is an error when a
// living process has it already, but none when there are no groups to be had:
// see [Run.Means].
func New(hierarchies []Hierarchy, name string, l Limits) (*Run, error) {
	r := &Run{}
	for _, h := range hierarchies {
		p := place{Hierarchy: h, dir: filepath.Join(h.Point, Prefix+name)}
		err := p.claim()
		if errors.Is(err, errLocked) {
			return nil, errors.Join(fmt.Errorf("make group %s: %w", p.dir, err), r.Close())
		}
		if err != nil {
			r.Missing = append(r.Missing, fmt.Sprintf("%s (%v)", strings.Join(h.Controllers, ", "), err))
			continue
		}
		p.Controllers = slices.DeleteFunc(slices.Clone(p.Controllers), func(c string) bool {
			err := p.enable(c, l)
			if err != nil {
				r.Missing = append(r.Missing, fmt.Sprintf("%s (%v)", c, err))
			}
			return err != nil
		})
		r.places = append(r.places, p)
	}
	for _, c := range controllers {
		if !slices.ContainsFunc(hierarchies, func(h Hierarchy) bool { return slices.Contains(h.Controllers, c) }) {
			r.Missing = append(r.Missing, c+" (not mounted, or read-only)")
		}
	}
	return r, r.dropUseless()
}

// claim makes and locks the directory. One that a dead process has left is
// swept, and one that is swept at this moment is made again: who sweeps holds the
// lock of a group that was made and is not locked yet.
func (p *place) claim() (err error) {
	for range 20 {
		if err = os.Mkdir(p.dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		found := err != nil
		if p.lock, err = tryLock(p.dir); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if errors.Is(err, errLocked) {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		if err != nil || !found {
			return err
		}
		if err = erase(p.dir, p.Version); err != nil {
			return err
		}
		_ = p.lock.Close()
	}
	if errors.Is(err, errLocked) {
		return err
	}
	return fmt.Errorf("%s does not stay", p.dir)
}

// enable switches a controller on for the run's group and its children, and
// sets the limit: what cannot be set is not in force.
func (p *place) enable(controller string, l Limits) error {
	if p.Version == 2 {
		for _, dir := range []string{p.Point, p.dir} {
			if err := delegate(dir, controller); err != nil {
				return err
			}
		}
	}
	return limit(p.dir, p.Version, controller, l)
}

// delegate gives the children of a version 2 group a controller. A group that
// holds processes of its own refuses it with EBUSY, but for the real root: so
// it is in a container.
func delegate(dir, controller string) error {
	file := filepath.Join(dir, "cgroup.subtree_control")
	text, err := readFile(file)
	if err != nil || slices.Contains(strings.Fields(string(text)), controller) {
		return err
	}
	return writeFile(file, "+"+controller)
}

// dropUseless removes the groups in which no controller is in force.
func (r *Run) dropUseless() error {
	var errs []error
	r.places = slices.DeleteFunc(r.places, func(p place) bool {
		if len(p.Controllers) > 0 {
			return false
		}
		errs = append(errs, p.close())
		return true
	})
	return errors.Join(errs...)
}

func (p *place) close() error {
	err := removeGroup(p.dir)
	_ = p.lock.Close()
	return err
}

// Has reports whether a controller is in force.
func (r *Run) Has(controller string) bool {
	return slices.ContainsFunc(r.places, func(p place) bool { return slices.Contains(p.Controllers, controller) })
}

// Means says what is in force: "cgroup v1 (cpu, memory, pids)". It is empty
// when nothing is.
func (r *Run) Means() string {
	var parts []string
	for version := 1; version <= 2; version++ {
		var names []string
		for _, p := range r.places {
			if p.Version == version {
				names = append(names, p.Controllers...)
			}
		}
		if len(names) > 0 {
			slices.Sort(names)
			parts = append(parts, fmt.Sprintf("cgroup v%d (%s)", version, strings.Join(names, ", ")))
		}
	}
	return strings.Join(parts, " and ")
}

// Drop removes a group before the others. Its processes must have ended.
func (r *Run) Drop(g *Group) error {
	var errs []error
	for _, p := range g.places {
		errs = append(errs, removeGroup(p.dir))
	}
	if err := errors.Join(errs...); err != nil {
		return err // Close tries again
	}
	r.groups = slices.DeleteFunc(r.groups, func(other *Group) bool { return other == g })
	return nil
}

// Close removes the groups of the run. Their processes must have ended.
func (r *Run) Close() error {
	var errs []error
	for _, g := range r.groups {
		for _, p := range g.places {
			errs = append(errs, removeGroup(p.dir))
		}
	}
	for _, p := range r.places {
		errs = append(errs, p.close())
	}
	r.groups, r.places = nil, nil
	return errors.Join(errs...)
}
