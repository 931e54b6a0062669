package verdict

import (
	"fmt"

	"github.com/pilotexec/pilot/internal/model"
)

// probes judges the checks by four outcomes each: before and after the action,
// in the trial and in the control.
func probes(o model.Observation) []model.Finding {
	var found []model.Finding
	for _, want := range o.Spec.Probes {
		if probe(o.Trial, want.Name) == nil {
			found = append(found, model.Finding{Rule: "check-missing", Severity: model.Unproven,
				Message: fmt.Sprintf("check %q was not run", want.Name)})
		}
	}
	for _, t := range o.Trial.Probes {
		if f, ok := judgeProbe(t, probe(o.Control, t.Name)); ok {
			found = append(found, f)
		}
	}
	return found
}

// judgeProbe compares probe t of the trial with c, the same in the control, and
// reports whether there is anything to say.
func judgeProbe(t model.ProbeResult, c *model.ProbeResult) (model.Finding, bool) {
	f := model.Finding{Rule: "check-failed"}
	if c == nil {
		f.Rule, f.Severity = "check-missing", model.Unproven
		f.Message = fmt.Sprintf("check %q was not run in the control", t.Name)
		f.Evidence = probeEvidence(t.After)
		return f, true
	}
	f.Control = fmt.Sprintf("%s before, %s after", outcome(c.Before), outcome(c.After))
	switch {
	case t.After.OK():
		return passes(f, t, *c)
	case t.After.Err != "" && c.After.Err != "":
		f.Rule, f.Severity = "check-not-started", model.Unproven
		f.Message = fmt.Sprintf("check %q could not be run: %s", t.Name, t.After.Err)
	case c.After.OK():
		f.Severity = model.Error
		f.Message = fmt.Sprintf("check %q fails after the action, and passes where it was not run", t.Name)
	case t.Before.OK():
		f.Rule, f.Severity = "check-noise", model.Unproven
		f.Message = fmt.Sprintf("check %q fails after the action, but came to fail in the control too", t.Name)
	default:
		f.Rule, f.Severity = "not-mended", model.Error
		f.Message = fmt.Sprintf("check %q failed before the action and still does: the recovery did not mend it", t.Name)
	}
	f.Evidence = probeEvidence(t.After)
	return f, true
}

// passes judges a check that passes in the trial after the action.
func passes(f model.Finding, t, c model.ProbeResult) (model.Finding, bool) {
	switch {
	case c.Before.OK() && !c.After.OK():
		f.Rule, f.Severity = "check-noise", model.Unproven
		f.Message = fmt.Sprintf("check %q passes after the action, but came to fail in the control, where nothing was done", t.Name)
		f.Evidence = probeEvidence(c.After)
	case !t.Before.OK() && c.After.OK():
		f.Rule, f.Severity = "check-healed", model.Info
		f.Message = fmt.Sprintf("check %q failed before and passes now, but it passes in the control too", t.Name)
	case !t.Before.OK():
		f.Rule, f.Severity = "check-repaired", model.Info
		f.Message = fmt.Sprintf("check %q failed before the action and passes after it", t.Name)
	default:
		return f, false
	}
	return f, true
}

// probe returns the result of the probe called name, or nil.
func probe(w model.World, name string) *model.ProbeResult {
	for i, p := range w.Probes {
		if p.Name == name {
			return &w.Probes[i]
		}
	}
	return nil
}

// outcome is r in a few words.
func outcome(r model.CommandResult) string {
	switch {
	case r.OK():
		return "passes"
	case r.Err != "":
		return "could not be run"
	case r.Exit == nil:
		return "does not end"
	case r.Exit.Signal != "":
		return "fails (" + r.Exit.Signal + ")"
	default:
		return fmt.Sprintf("fails (exit status %d)", r.Exit.Code)
	}
}

func probeEvidence(r model.CommandResult) []model.Evidence {
	evidence := []model.Evidence{{Source: "check", Text: outcome(r)}}
	if r.Err != "" {
		evidence[0].Text += ": " + r.Err
	}
	return append(evidence, quote("check output", lines(r.Output))...)
}
