package verdict

import (
	"fmt"

	"github.com/pilotexec/pilot/internal/model"
)

// A message is repeated when it comes so often, and so many times as often as in
// the control.
const (
	repeatedOften = 20
	repeatedTimes = 10
)

// repeated notices warnings that come again and again: somebody tries something
// that does not work. Errors are noticed when they come once.
func repeated(o model.Observation) []model.Finding {
	var found []model.Finding
	for _, g := range o.Trial.Logs {
		there := timesLogged(o.Control.Logs, g)
		if g.Level != model.LogWarning || g.Count < repeatedOften || g.Count < repeatedTimes*there || len(found) == mostLogged {
			continue
		}
		f := model.Finding{
			Rule: "retry-loop", Severity: model.Warning, Member: g.Member,
			Message: fmt.Sprintf("%s repeats a warning, %d times so far: %s", loggedBy(g), g.Count, clip(g.Template)),
			Control: "not there",
		}
		if there > 0 {
			f.Control = fmt.Sprintf("%d times", there)
		}
		f.Evidence = quoteLog(g)
		found = append(found, f)
	}
	return found
}

// timesLogged is how often the member has logged the same.
func timesLogged(logs []model.LogGroup, g model.LogGroup) (n int) {
	for _, l := range logs {
		if l.Template == g.Template && l.Member == g.Member {
			n += l.Count
		}
	}
	return n
}

func loggedBy(g model.LogGroup) string {
	if g.Member == "" {
		return "the action"
	}
	return g.Member
}
