package model

import "time"

// Status is the verdict's one word.
type Status string

// The three verdicts. What is not proven is unknown, never pass.
const (
	Pass    Status = "pass"
	Fail    Status = "fail"
	Unknown Status = "unknown"
)

// Severity orders findings.
type Severity string

// Severities, gravest first. An error makes a verdict fail, an unproven makes
// it unknown, the others do not change it.
const (
	Error    Severity = "error"
	Unproven Severity = "unproven"
	Warning  Severity = "warning"
	Info     Severity = "info"
)

// Evidence is one quoted fact.
type Evidence struct {
	Source string `json:"source"` // "log", "exit", "probe", "file"
	Text   string `json:"text"`
	// At is when, since the release of the world; 0 when that is not known.
	At time.Duration `json:"at_ns,omitempty"`
}

// A Finding is one thing that a rule noticed.
type Finding struct {
	Rule     string     `json:"rule"`
	Severity Severity   `json:"severity"`
	Member   string     `json:"member,omitempty"`
	PID      int        `json:"pid,omitempty"`
	Message  string     `json:"message"`
	Evidence []Evidence `json:"evidence,omitempty"`
	// Control says how the same thing looked in the control world.
	Control string `json:"control,omitempty"`
}

// An Effect is something the recovery did that outlives it.
type Effect struct {
	Sign   string `json:"sign"` // + created, ~ changed, - removed, ! tried to leave, x failed, ? unknown
	Kind   string `json:"kind"` // "file", "process"
	Object string `json:"object"`
	Member string `json:"member,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// A Difference compares one observation of the trial with the control.
type Difference struct {
	What    string `json:"what"`
	Trial   string `json:"trial"`
	Control string `json:"control"`
}

// A Verdict is the answer: five parts, always.
type Verdict struct {
	Status      Status       `json:"status"`
	Reason      string       `json:"reason"` // one sentence
	Findings    []Finding    `json:"findings"`
	Effects     []Effect     `json:"effects"`
	NotCovered  []Gap        `json:"not_covered"`
	Differences []Difference `json:"differences"`
	// Noise are findings that do not hold against every control, so that the
	// action is not blamed for them.
	Noise []Finding `json:"noise,omitempty"`
}
