package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/pilotexec/pilot/internal/config"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/nearest"
	"github.com/pilotexec/pilot/internal/preset"
)

// mostConfig bounds a configuration file that is read.
const mostConfig = 1 << 20

// addPreset completes members by what is known of their system, and finds them
// when none are named. It returns the checks of the preset, and what to tell.
func (t *target) addPreset(ctx context.Context, a *app, c *config.Config, members []model.Member) (_ []model.Member, checks []config.Check, notes []string, err error) {
	if c.Preset != "" && !slices.Contains(preset.Names(), c.Preset) {
		hint := "known are " + strings.Join(preset.Names(), ", ")
		if guess := nearest.To(c.Preset, preset.Names()); guess != "" {
			hint = fmt.Sprintf("did you mean %q?", guess)
		}
		return nil, nil, nil, &model.UsageError{Err: fmt.Errorf("unknown preset %q", c.Preset), Hint: hint}
	}
	switch {
	case c.Preset == preset.None:
		return members, nil, nil, nil
	case c.Preset == "" && len(members) > 0:
		return members, nil, presetHint(members), nil
	}
	found := len(members) == 0
	if found {
		if members, err = a.presetMembers(ctx, c.Preset); err != nil {
			return nil, nil, nil, err
		}
	}
	p, err := presetOf(c.Preset, members)
	if err != nil || p.Name == "" {
		return members, nil, nil, err
	}
	nodes := describe(p, members)
	if found {
		members = append(members, downNodes(nodes, members)...)
	}
	checks, notes = presetChecks(p, nodes, foreign(members))
	distinguish(members)
	return members, checks, append([]string{"preset " + p.Name}, notes...), nil
}

// presetHint says that there is one for members that were named.
func presetHint(members []model.Member) []string {
	if p, ok := preset.Of(members[0]); ok {
		return []string{fmt.Sprintf("these are nodes of %s: --preset %s would check their health and count what they hold", p.Name, p.Name)}
	}
	return nil
}

// presetMembers finds all processes of a preset, or of any.
func (a *app) presetMembers(ctx context.Context, name string) (members []model.Member, err error) {
	engine, err := a.engine()
	if err != nil {
		return nil, err
	}
	for _, p := range preset.Presets {
		if name != "" && name != preset.Auto && name != p.Name {
			continue
		}
		for _, word := range slices.Concat(p.Programs, p.Classes) {
			list, err := engine.Find(ctx, word, nil)
			if err != nil {
				return nil, err
			}
			for _, m := range list {
				if q, ok := preset.Of(m); ok && q.Name == p.Name {
					members = join(members, []model.Member{m})
				}
			}
		}
	}
	return members, nil
}

// presetOf is the preset that was chosen, or that of all members.
func presetOf(name string, members []model.Member) (preset.Preset, error) {
	if p, ok := preset.Find(name); ok {
		return p, nil
	}
	systems := map[string]preset.Preset{}
	var names []string
	for _, m := range members {
		if p, ok := preset.Of(m); ok {
			if _, known := systems[p.Name]; !known {
				names = append(names, p.Name)
			}
			systems[p.Name] = p
		}
	}
	if len(names) > 1 {
		sort.Strings(names)
		return preset.Preset{}, &model.UsageError{Err: fmt.Errorf("which of %s is to be forked?", strings.Join(names, ", ")), Hint: "--preset " + names[0]}
	}
	for _, p := range systems {
		return p, nil
	}
	return preset.Preset{}, nil
}

// describe asks the preset about each member that runs, and names it and its data.
func describe(p preset.Preset, members []model.Member) []preset.Node {
	var nodes []preset.Node
	for i := range members {
		m := &members[i]
		if q, ok := preset.Of(*m); !ok || q.Name != p.Name {
			continue
		}
		n := p.Describe(*m, readConfig)
		// A name of our own making has the pid.
		if n.Name != "" && strings.HasSuffix(m.Name, fmt.Sprintf("-%d", m.PID)) {
			m.Name = n.Name
		}
		for _, dir := range n.Data {
			if fi, err := os.Stat(dir); err == nil && fi.IsDir() {
				m.Known = append(m.Known, dir)
			}
		}
		nodes = append(nodes, n)
	}
	return nodes
}

// readConfig reads a small file.
func readConfig(path string) ([]byte, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() || fi.Size() > mostConfig {
		return nil, errors.New("no small file")
	}
	return os.ReadFile(path)
}

// downNodes are the members that others tell of, whose data are here and who have
// no process.
func downNodes(nodes []preset.Node, members []model.Member) (down []model.Member) {
	known := map[string]bool{}
	for _, m := range members {
		known[m.Name] = true
	}
	for _, n := range nodes {
		for name, dir := range n.Down {
			if fi, err := os.Stat(dir); err == nil && fi.IsDir() && !known[name] {
				known[name] = true
				down = append(down, model.Member{Name: name, Data: []string{dir}})
			}
		}
	}
	slices.SortFunc(down, func(a, b model.Member) int { return strings.Compare(a.Name, b.Name) })
	return down
}

// foreign reports whether members have mounts of their own, where pilot's
// program, which the checks run, may not be.
func foreign(members []model.Member) bool {
	own, err := os.Readlink("/proc/self/ns/mnt")
	return err == nil && slices.ContainsFunc(members, func(m model.Member) bool {
		theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", m.PID))
		return err == nil && theirs != own
	})
}

// presetChecks are the preset's checks, asked by pilot's own program.
func presetChecks(p preset.Preset, nodes []preset.Node, foreign bool) (checks []config.Check, notes []string) {
	self, err := ownProgram()
	switch {
	case foreign:
		return nil, []string{"the members have mounts of their own, in which pilot is not: their preset has no checks, give some with --check"}
	case err != nil:
		return nil, []string{fmt.Sprintf("the preset has no checks: %v", err)}
	}
	var clients, monitors []string
	for _, n := range nodes {
		if n.Note != "" {
			notes = append(notes, n.Name+": "+n.Note)
		}
		clients = appendAddr(clients, n.Client)
		monitors = appendAddr(monitors, n.Monitor)
	}
	for _, c := range p.Checks {
		addrs := clients
		if c.Monitor {
			addrs = monitors
		}
		if len(addrs) == 0 {
			notes = append(notes, fmt.Sprintf("no address is known for the check %q of preset %s", c.Name, p.Name))
			continue
		}
		checks = append(checks, config.Check{
			Name: p.Name + " " + c.Name, NotLess: c.NotLess, Timeout: config.DefaultCheckTimeout,
			Command: append([]string{self, "probe", p.Name, c.Verb}, addrs...),
		})
	}
	return checks, notes
}

// ownProgram is where this program is, for worlds to run it.
func ownProgram() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(self)
}

func appendAddr(list []string, addr string) []string {
	if _, _, err := net.SplitHostPort(addr); err != nil || slices.Contains(list, addr) {
		return list
	}
	return append(list, addr)
}
