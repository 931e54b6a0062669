package verdict

import (
	"fmt"
	"regexp"
	"strings"

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
		want, c := wanted(o.Spec, t.Name), probe(o.Control, t.Name)
		if f, ok := judgeProbe(want, t, c); ok && !(f.Rule == ruleHealed && starved(o, t.Before)) {
			found = append(found, fair(o, f, t.After))
		}
		if f, ok := interrupted(want, t, c); ok {
			found = append(found, fair(o, f, t.Between.First))
		}
		if c != nil && want.AsksAfter() {
			found = append(found, judgeOutput(want, t, *c)...)
		}
	}
	return found
}

const (
	ruleHealed  = "check-healed"
	ruleNoise   = "check-noise"
	ruleStarved = "check-starved"
)

// starved reports whether a check may have come to no end because production left
// the worlds hardly any processor.
func starved(o model.Observation, r model.CommandResult) bool { return o.Rationed > 0 && r.CutOff() }

// fair takes back what a starved check seems to prove.
func fair(o model.Observation, f model.Finding, r model.CommandResult) model.Finding {
	if f.Severity == model.Error && starved(o, r) {
		f.Rule, f.Severity = ruleStarved, model.Unproven
		f.Message = fmt.Sprintf("%s; it did not end in time, but for %s production left the worlds hardly any processor", f.Message, round(o.Rationed))
	}
	return f
}

// wanted is what the run was told of a probe.
func wanted(s model.Spec, name string) model.Probe {
	for _, p := range s.Probes {
		if p.Name == name {
			return p
		}
	}
	return model.Probe{Name: name}
}

// good reports whether r is what the probe wants.
func good(want model.Probe, r model.CommandResult) bool { return r.OK() && matches(want, r) }

func matches(want model.Probe, r model.CommandResult) bool {
	if want.Expect == "" {
		return true
	}
	re, err := regexp.Compile(want.Expect)
	return err == nil && re.MatchString(strings.TrimRight(r.Output, "\n"))
}

// judgeProbe compares what a probe gave in the trial, t, with c, the same in the control, and
// reports whether there is anything to say.
func judgeProbe(want model.Probe, t model.ProbeResult, c *model.ProbeResult) (model.Finding, bool) {
	f := model.Finding{Rule: "check-failed"}
	if c == nil {
		f.Rule, f.Severity = "check-missing", model.Unproven
		f.Message = fmt.Sprintf("check %q was not run in the control", t.Name)
		f.Evidence = probeEvidence(want, t.After)
		return f, true
	}
	f.Control = fmt.Sprintf("%s before, %s after", outcome(want, c.Before), outcome(want, c.After))
	if !want.AsksAfter() {
		f.Rule, f.Severity = "check-assumed", model.Unproven
		f.Message = fmt.Sprintf("check %q fails before the action: the cluster is not what the action takes for granted", t.Name)
		f.Evidence = probeEvidence(want, t.Before)
		return f, !good(want, t.Before)
	}
	switch {
	case good(want, t.After):
		return passes(f, want, t, *c)
	case t.After.Err != "" && c.After.Err != "":
		f.Rule, f.Severity = "check-not-started", model.Unproven
		f.Message = fmt.Sprintf("check %q could not be run: %s", t.Name, t.After.Err)
	case good(want, c.After):
		f.Severity = model.Error
		f.Message = fmt.Sprintf("check %q fails after the action, and passes where it was not run", t.Name)
	case !want.AsksBefore():
		f.Severity = model.Error
		f.Message = fmt.Sprintf("check %q fails after the action, as it does where it was not run", t.Name)
	case good(want, t.Before):
		f.Rule, f.Severity = ruleNoise, model.Unproven
		f.Message = fmt.Sprintf("check %q fails after the action, but came to fail in the control too", t.Name)
	default:
		f.Rule, f.Severity = "not-mended", model.Error
		f.Message = fmt.Sprintf("check %q failed before the action and still does: the recovery did not mend it", t.Name)
	}
	f.Evidence = probeEvidence(want, t.After)
	return f, true
}

// passes judges a check that passes in the trial after the action.
func passes(f model.Finding, want model.Probe, t, c model.ProbeResult) (model.Finding, bool) {
	switch {
	case !want.AsksBefore():
		return f, false
	case good(want, c.Before) && !good(want, c.After):
		f.Rule, f.Severity = ruleNoise, model.Unproven
		f.Message = fmt.Sprintf("check %q passes after the action, but came to fail in the control, where nothing was done", t.Name)
		f.Evidence = probeEvidence(want, c.After)
	case !good(want, t.Before) && good(want, c.After):
		f.Rule, f.Severity = ruleHealed, model.Info
		f.Message = fmt.Sprintf("check %q failed before and passes now, but it passes in the control too", t.Name)
	case !good(want, t.Before):
		f.Rule, f.Severity = "check-repaired", model.Info
		f.Message = fmt.Sprintf("check %q failed before the action and passes after it", t.Name)
	default:
		return f, false
	}
	return f, true
}

// interrupted judges a check that is to pass all the time.
func interrupted(want model.Probe, t model.ProbeResult, c *model.ProbeResult) (model.Finding, bool) {
	b := t.Between
	if b == nil || b.Failed == 0 {
		return model.Finding{}, false
	}
	f := model.Finding{
		Rule: "check-interrupted", Severity: model.Error,
		Message: fmt.Sprintf("check %q failed %d of %d times between before and after, from %s to %s", t.Name, b.Failed, b.Asked, seconds(b.At), seconds(b.Until)),
		Control: "never failed there", Evidence: probeEvidence(want, b.First),
	}
	f.Evidence[0].At = b.At
	if c != nil && c.Between != nil && c.Between.Failed > 0 {
		f.Severity = model.Warning
		f.Control = fmt.Sprintf("failed %d of %d times", c.Between.Failed, c.Between.Asked)
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
func outcome(want model.Probe, r model.CommandResult) string {
	switch {
	case r.Skipped:
		return "not asked"
	case good(want, r):
		return "passes"
	case r.OK():
		return fmt.Sprintf("fails (its output does not match %q)", want.Expect)
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

func probeEvidence(want model.Probe, r model.CommandResult) []model.Evidence {
	evidence := []model.Evidence{{Source: "check", Text: outcome(want, r)}}
	if r.Err != "" {
		evidence[0].Text += ": " + r.Err
	}
	return append(evidence, quote("check output", lines(r.Output))...)
}
