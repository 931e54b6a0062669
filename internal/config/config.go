// Package config reads pilot.yaml: which processes make up the cluster, what
// proves that it is healthy, and how long production may be held.
//
// Parsing is strict: an unknown key, a value of the wrong kind or a member that
// cannot be told from another is an error that names its line. The package
// reads the one file it is asked for and touches nothing else.
package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Defaults of the settings that a file may leave out.
const (
	DefaultMaxPause     = 250 * time.Millisecond
	DefaultTimeout      = 2 * time.Minute
	DefaultSettle       = 5 * time.Second
	DefaultPatience     = 30 * time.Second
	DefaultTrace        = "effects"
	DefaultCheckTimeout = 10 * time.Second
)

// DefaultFile is read from the working directory when no file is named.
const DefaultFile = "pilot.yaml"

// A Config is the content of pilot.yaml with defaults filled in.
type Config struct {
	Cluster string
	// Preset is the system of the members, "auto", or "none". Empty when not given.
	Preset  string
	Members []Member
	Checks  []Check
	Logs    []LogRule
	Egress  []Egress
	// AlsoFail are second failures, as the flag --also-fail has them.
	AlsoFail []string
	MaxPause time.Duration
	Timeout  time.Duration
	Settle   time.Duration
	Patience time.Duration
	// Trace is how much is told of what happens in worlds: "off", "effects" or
	// "full".
	Trace string
	// MaxMemory and MaxDisk are bytes for each world, 0 for what the engine
	// derives from the host.
	MaxMemory, MaxDisk int64
	// MemoryPressure and IOPressure are per cent.
	MemoryPressure, IOPressure float64
}

// A Member describes one node, or all processes that Match finds.
type Member struct {
	// Name is empty when the engine is to choose one; Match may then find
	// several processes.
	Name string
	// Match is an executable's base name or part of an argument.
	Match string
	PID   int
	// Data are the absolute paths given, none when they are to be discovered.
	Data []string
	// Command is how the node is started. With it, a member that has no
	// process is taken as down.
	Command []string
}

// A Check is a command that exits with status 0 when the cluster is healthy.
type Check struct {
	Name    string
	Command []string
	Timeout time.Duration
	// What it prints must match Expect, keep all its lines, have no smaller numbers,
	// or be the same in the control.
	Expect                           string
	Preserve, NotLess, SameAsControl bool
	// When is "before", "after" or "always", or empty for before and after.
	When string
	// Ask is a question of pilot's own program, package probe, instead of Command.
	Ask []string
}

// A LogRule is a pattern of lines that members are to log, or not to.
type LogRule struct {
	Pattern string
	Require bool
	Warning bool // and no error
}

// An Egress says what is done about a peer outside of the worlds, package peer.
type Egress struct {
	Peer   string
	Policy string
	Reply  string // of a stub
}

// Shell is the check that runs line with sh.
func Shell(line string) Check {
	return Check{Name: line, Command: []string{"sh", "-c", line}, Timeout: DefaultCheckTimeout}
}

// Preserving is the check that line, run with sh, goes on to print what it prints.
func Preserving(line string) Check {
	c := Shell(line)
	c.Preserve = true
	return c
}

// Default is the configuration of an empty file.
func Default() *Config {
	return &Config{
		MaxPause: DefaultMaxPause, Timeout: DefaultTimeout, Settle: DefaultSettle, Patience: DefaultPatience, Trace: DefaultTrace,
	}
}

// Load reads and parses path. Relative data paths start at path's directory.
func Load(path string) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		var perr *os.PathError
		if errors.As(err, &perr) {
			err = perr.Err
		}
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return Parse(path, text, filepath.Dir(abs))
}
