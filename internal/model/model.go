// Package model holds the plain data of a pilot run: what is asked for, what
// was seen, and what is concluded. It imports nothing of the kernel and builds
// on any system, so that decisions and reports can be tested anywhere.
//
// The words are those of docs/ARCHITECTURE.md: origin, snapshot, seed, world,
// phantom, action, trial, control, effect, verdict.
package model

import "time"

// Version is the version of the JSON encoding of a [Report].
const Version = 1

// A Report is a finished run, as it is stored and shown.
type Report struct {
	Version  int           `json:"version"`
	ID       string        `json:"id"`
	Tool     string        `json:"tool"` // pilot's version
	Host     string        `json:"host"`
	Started  time.Time     `json:"started"`
	Duration time.Duration `json:"duration_ns"`
	Spec     Spec          `json:"spec"`
	Pause    Pause         `json:"pause"`
	Collapse *Collapse     `json:"collapse,omitempty"`
	// Data says how the data directories were imaged, file system by file system.
	Data []DataWay `json:"data,omitempty"`
	// Part is set where the snapshot has more runs than this.
	Part    *Part   `json:"part,omitempty"`
	Trial   World   `json:"trial"`
	Control World   `json:"control"`
	Verdict Verdict `json:"verdict"`
	// Confinement says by which means the limits were in force, such as "cgroup
	// v1 (cpu, memory, pids)".
	Confinement string `json:"confinement,omitempty"`
	// Leftovers names what could not be erased at the end; normally empty.
	Leftovers []string `json:"leftovers,omitempty"`
}

// A DataWay says how what lies on one file system is imaged.
type DataWay struct {
	// Path is where the file system, or the subvolume, comes into view.
	Path string `json:"path"`
	FS   string `json:"fs"`
	Way  string `json:"way"`
	// Why says why there is no better way. Empty for the best.
	Why string `json:"why,omitempty"`
}

// Text is what people read of w, but for where it is.
func (w DataWay) Text() string {
	if w.Why == "" {
		return w.Way
	}
	return w.Way + " (" + w.Why + ")"
}

// An Observation is the input of the verdict.
type Observation struct {
	Spec    Spec
	Trial   World
	Control World
	// More are other controls, of the same snapshot as Control.
	More []World
	Gaps []Gap
	// Rationed is for how long production left the worlds no processor but a ration.
	Rationed time.Duration
}

// A Diagnosis is what `pilot doctor` says of one process.
type Diagnosis struct {
	Member    Member    `json:"member"`
	Threads   int       `json:"threads"`
	Resident  int64     `json:"resident_bytes"`
	Objects   []Object  `json:"objects"`
	Refusals  []Refusal `json:"refusals"`
	Gaps      []Gap     `json:"gaps"`
	DataBytes int64     `json:"data_bytes"`
	Data      []DataWay `json:"data,omitempty"`
	// Predicted is the expected share of the pause.
	Predicted Pause `json:"predicted_pause"`
	// Collapse is what --collapse would do; nil for nothing.
	Collapse *Collapse `json:"collapse,omitempty"`
}

// An Object is one row of doctor's table: a kind of kernel object, how many of
// them the process holds, and whether a world can have it.
type Object struct {
	Kind   string `json:"kind"`
	Count  int    `json:"count"`
	Status string `json:"status"` // "ok", "emulated" or "refused"
	Detail string `json:"detail,omitempty"`
}
