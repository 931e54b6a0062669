// Package verdict turns what was observed in the trial and in the control world
// into a verdict with its evidence. It is pure: equal observations give equal
// verdicts.
//
// A rule looks at one thing and returns findings; rules, the table below, lists
// them all. An error finding makes the verdict fail, an unproven one makes it
// unknown, and only without either is it pass: what is not proven never passes.
// Every rule asks the control first: what happened there too was not done by
// the action. Where there are several controls, noise.go says what counts.
package verdict

import (
	"cmp"
	"slices"

	"github.com/pilotexec/pilot/internal/model"
)

// rules is everything that is judged. Among findings of one severity the order
// here is the order in the report: what died comes before what followed of it.
var rules = []func(model.Observation) []model.Finding{
	endedEarly,  // ended.go
	steered,     // steered.go
	injured,     // injured.go
	phantoms,    // phantom.go
	started,     // started.go
	fared,       // vitals.go
	blocked,     // blocked.go
	logged,      // logged.go
	repeated,    // retry.go
	asked,       // logrules.go
	action,      // action.go
	probes,      // probe.go
	late,        // pending.go
	recordsLost, // records.go
	watched,     // watched.go
	incomplete,  // watched.go
}

// Judge concludes o. No slice of the result is nil.
func Judge(o model.Observation) model.Verdict {
	found, noise := judge(o)
	v := model.Verdict{
		Findings:    found,
		Noise:       noise,
		Effects:     commonEffects(o),
		NotCovered:  notCovered(o),
		Differences: differences(o),
	}
	slices.SortStableFunc(v.Findings, func(a, b model.Finding) int {
		return cmp.Compare(rank(a.Severity), rank(b.Severity))
	})
	v.Findings = quoteOnce(v.Findings)
	v.Status = status(v.Findings)
	v.Reason = reason(o, v)
	return v
}

// rank orders severities, gravest first. A severity that is not known is as
// grave as an error.
func rank(s model.Severity) int {
	return slices.Index([]model.Severity{model.Error, model.Unproven, model.Warning, model.Info}, s)
}

// status is the word that the gravest of sorted findings allows.
func status(sorted []model.Finding) model.Status {
	if len(sorted) == 0 {
		return model.Pass
	}
	switch sorted[0].Severity {
	case model.Warning, model.Info:
		return model.Pass
	case model.Unproven:
		return model.Unknown
	default:
		return model.Fail
	}
}

// notCovered is what the worlds lacked, and that nobody asked for health.
func notCovered(o model.Observation) []model.Gap {
	gaps := append([]model.Gap{}, o.Gaps...)
	if len(o.Spec.Probes) == 0 {
		gaps = append(gaps, model.Gap{Object: "checks", Detail: "no check was given, so nobody asked whether the cluster serves"})
	}
	return gaps
}
