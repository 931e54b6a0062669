package series

import (
	"fmt"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// Rounds says what several runs of one action say together.
type Rounds struct {
	Version int `json:"version"`
	// Status is pass only when all rounds passed, and fail when any failed.
	Status model.Status `json:"status"`
	Reason string       `json:"reason"` // one sentence
	// Wanted is how many rounds were asked for. There may be fewer.
	Wanted  int     `json:"wanted"`
	Passed  int     `json:"passed"`
	Failed  int     `json:"failed"`
	Unknown int     `json:"unknown"`
	Rounds  []Round `json:"rounds"`
	// Findings and Noise are those of all rounds, each once.
	Findings []Group `json:"findings"`
	Noise    []Group `json:"noise,omitempty"`
	// Varied are the properties that not all rounds have alike.
	Varied []Varied `json:"varied"`
}

// A Round is one of them, in a line.
type Round struct {
	Run    string       `json:"run"`
	Status model.Status `json:"status"`
	Reason string       `json:"reason"`
	// Jitter is how long the action was held back.
	Jitter   time.Duration `json:"jitter_ns"`
	Action   string        `json:"action"` // how it ended
	Duration time.Duration `json:"duration_ns"`
}

// Varied is a property that differed between rounds.
type Varied struct {
	Property string  `json:"property"`
	Values   []Value `json:"values"`
}

// A Value is what some of the rounds had.
type Value struct {
	Value string `json:"value"`
	Runs  []int  `json:"runs"` // numbers of rounds, from 1
}

// Repeat concludes the reports of rounds, of which wanted were asked for.
func Repeat(reports []*model.Report, wanted int) Rounds {
	s := Rounds{Version: model.Version, Wanted: wanted, Rounds: []Round{}, Findings: group(reports, findings), Varied: []Varied{}}
	if all := group(reports, noise); len(all) > 0 {
		s.Noise = all
	}
	for _, r := range reports {
		s.Rounds = append(s.Rounds, one(r))
		switch r.Verdict.Status {
		case model.Pass:
			s.Passed++
		case model.Fail:
			s.Failed++
		default:
			s.Unknown++
		}
	}
	s.Status = model.Unknown
	switch {
	case s.Failed > 0:
		s.Status = model.Fail
	case s.Passed == wanted:
		s.Status = model.Pass
	}
	s.Reason = s.reason()
	s.Varied = append(s.Varied, varied(reports)...)
	return s
}

func one(r *model.Report) Round {
	round := Round{Run: r.ID, Status: r.Verdict.Status, Reason: r.Verdict.Reason, Action: actionEnd(r.Trial.Action)}
	if r.Part != nil {
		round.Jitter = r.Part.Jitter
	}
	if r.Trial.Action != nil {
		round.Duration = r.Trial.Action.Duration
	}
	return round
}

// reason counts, and quotes the first round of the gravest sort.
func (s Rounds) reason() string {
	text := []string{fmt.Sprintf("%d of %d passed", s.Passed, s.Wanted)}
	if n := s.Wanted - len(s.Rounds); n > 0 {
		text = append(text, count(n, "round")+" not done")
	}
	if s.Status != model.Pass {
		for i, r := range s.Rounds {
			if r.Status == s.Status {
				text = append(text, fmt.Sprintf("round %d: %s", i+1, r.Reason))
				break
			}
		}
	}
	return strings.Join(text, "; ")
}

// varied are the properties that count and that not all rounds have alike.
func varied(reports []*model.Report) (list []Varied) {
	var all [][]property
	for _, r := range reports {
		all = append(all, properties(r))
	}
	for _, name := range names(all) {
		r := row(name, all, len(all))
		if !r.Counts && !(name == "verdict" && r.Differs) {
			continue
		}
		v := Varied{Property: name}
		at := map[string]int{}
		for n, value := range r.Values {
			i, known := at[value]
			if !known {
				i = len(v.Values)
				at[value] = i
				v.Values = append(v.Values, Value{Value: value})
			}
			v.Values[i].Runs = append(v.Values[i].Runs, n+1)
		}
		if len(v.Values) > 1 { // other files, as many, are nothing to tell
			list = append(list, v)
		}
	}
	return list
}
