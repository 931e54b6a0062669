// Package preset knows the systems that pilot is most often asked about: how their
// processes are recognised, where their data lies, which address serves clients,
// and what to ask before and after a recovery.
//
// It decides, and touches nothing: configuration files are read by a function
// that it is given. What it cannot find out it leaves empty; then pilot goes on
// to look at the files that the process has open.
package preset

import (
	"path"
	"slices"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
)

// A Preset is one system.
type Preset struct {
	Name string
	// Programs are the base names of its executables, and Classes the main classes
	// of what runs in a Java virtual machine.
	Programs, Classes []string
	// describe reads a node's command line and configuration.
	describe func(p process) Node
	// Checks are what to ask, by the verbs of package probe.
	Checks []Check
}

// A Check is a question of a preset.
type Check struct {
	Name, Verb string
	// NotLess is as in [model.Probe].
	NotLess bool
	// Monitor asks the monitoring addresses instead of those for clients.
	Monitor bool
}

var (
	health  = Check{Name: "health", Verb: "health"}
	numbers = Check{Name: "numbers", Verb: "numbers", NotLess: true}
)

// Presets is every system.
var Presets = []Preset{
	{Name: "etcd", Programs: []string{"etcd"}, describe: etcd, Checks: []Check{health, numbers}},
	{Name: "redis", Programs: []string{"redis-server", "valkey-server", "redis-check-rdb"}, describe: redis, Checks: []Check{health, numbers}},
	{Name: "zookeeper", Classes: []string{"org.apache.zookeeper.server.quorum.QuorumPeerMain", "org.apache.zookeeper.server.ZooKeeperServerMain"},
		describe: zookeeper, Checks: []Check{health, numbers}},
	{Name: "nats", Programs: []string{"nats-server"}, describe: nats,
		Checks: []Check{health, {Name: "numbers", Verb: "numbers", NotLess: true, Monitor: true}}},
	{Name: "kafka", Classes: []string{"kafka.Kafka"}, describe: kafka, Checks: []Check{health}},
}

// Auto is the preset that goes by the processes, None the one that knows nothing.
const (
	Auto = "auto"
	None = "none"
)

// Names lists what can be chosen.
func Names() []string {
	out := []string{Auto, None}
	for _, p := range Presets {
		out = append(out, p.Name)
	}
	return out
}

// Find returns the preset of that name.
func Find(name string) (Preset, bool) {
	for _, p := range Presets {
		if p.Name == name {
			return p, true
		}
	}
	return Preset{}, false
}

// Of returns the preset of a process.
func Of(m model.Member) (Preset, bool) {
	for _, p := range Presets {
		if p.matches(m) {
			return p, true
		}
	}
	return Preset{}, false
}

func (p Preset) matches(m model.Member) bool {
	if m.Down() {
		return false
	}
	program := path.Base(strings.TrimSuffix(m.Exe, " (deleted)"))
	if slices.Contains(p.Programs, program) {
		return true
	}
	// The class is an argument of its own, not a part of the class path.
	return slices.ContainsFunc(p.Classes, func(class string) bool { return slices.Contains(m.Args, class) })
}

// A Node is what is known of a member.
type Node struct {
	Name            string
	Data            []string
	Client, Monitor string // HOST:PORT, empty when not known
	// Down are members that the node's configuration tells of, by name, with the
	// data that they would have if theirs are laid out as the node's.
	Down map[string]string
	// Note says why the node cannot be asked.
	Note string
}

// Read reads a file, as the node would see it.
type Read func(path string) ([]byte, error)

// Describe says what is known of a process of the system.
func (p Preset) Describe(m model.Member, read Read) Node {
	n := p.describe(process{args: m.Args, dir: m.Dir, read: read})
	n.Data = slices.DeleteFunc(n.Data, func(d string) bool { return !path.IsAbs(d) || d == "/" })
	for i := range n.Data {
		n.Data[i] = path.Clean(n.Data[i])
	}
	return n
}

// A process is what a description starts from.
type process struct {
	args []string
	dir  string
	read Read
}

// flag is the value of a flag that is written as --name value or --name=value,
// with one dash or two.
func (p process) flag(names ...string) string {
	value := ""
	for i, a := range p.args {
		name, rest, joined := strings.Cut(a, "=")
		if !strings.HasPrefix(name, "-") || !slices.Contains(names, strings.TrimLeft(name, "-")) {
			continue
		}
		if joined {
			value = rest
		} else if i+1 < len(p.args) {
			value = p.args[i+1]
		}
	}
	return value
}

// abs is a path as the process means it.
func (p process) abs(name string) string {
	if name == "" || path.IsAbs(name) {
		return name
	}
	return path.Join(p.dir, name)
}

// config reads a file that the process was given.
func (p process) config(name string) string {
	if name == "" {
		return ""
	}
	text, err := p.read(p.abs(name))
	if err != nil {
		return ""
	}
	return string(text)
}

// last is the last argument with one of these endings.
func (p process) last(suffixes ...string) string {
	for _, a := range slices.Backward(p.args) {
		if slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(a, s) }) && !strings.HasPrefix(a, "-") {
			return a
		}
	}
	return ""
}

// properties reads lines of a key and a value.
func properties(text, between string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if key, value, ok := strings.Cut(line, between); ok {
			out[strings.TrimSpace(key)] = strings.Trim(strings.TrimSpace(value), `"'`)
		}
	}
	return out
}

// loopback replaces an address that stands for all by one that can be asked.
func loopback(host string) string {
	switch host {
	case "", "0.0.0.0", "*", "::", "[::]":
		return "127.0.0.1"
	}
	return host
}

// first is the first that is not empty.
func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
