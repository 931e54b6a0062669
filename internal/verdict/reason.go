package verdict

import (
	"fmt"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
)

// reason is the one sentence behind v's status.
func reason(o model.Observation, v model.Verdict) string {
	with := ""
	if also := despite(o); also != "" {
		with = "with " + also + ": "
	}
	if v.Status == model.Pass {
		return with + passReason(o)
	}
	first := v.Findings[0]
	more := 0
	for _, f := range v.Findings[1:] {
		if f.Severity == first.Severity {
			more++
		}
	}
	text := first.Message
	if first.Member != "" && !strings.Contains(text, first.Member) {
		text = first.Member + ": " + text
	}
	switch {
	case more == 1:
		text += " (and 1 more)"
	case more > 1:
		text += fmt.Sprintf(" (and %d more)", more)
	}
	return with + text
}

func passReason(o model.Observation) string {
	text := "the action ended with exit status 0"
	if o.Spec.Shell {
		text = "the shell ended"
	}
	if despite(o) == "" {
		text += " and no member was lost"
	} else {
		text += " and no other member was lost"
	}
	switch n := len(o.Trial.Probes); n {
	case 0:
		return text + "; no check was given"
	case 1:
		return text + "; the check passes"
	default:
		return text + fmt.Sprintf("; all %d checks pass", n)
	}
}
