package verdict

import (
	"slices"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
)

// printed is a command that ended with a status and printed lines.
func printed(code int, lines ...string) model.CommandResult {
	return model.CommandResult{Exit: &model.Exit{Code: code}, Output: strings.Join(lines, "\n")}
}

func differing(all []Comparison) (what []string, lost int) {
	for _, c := range all {
		if !c.Same {
			what = append(what, c.What)
		}
		lost += len(c.Lost)
	}
	return what, lost
}

func TestReady(t *testing.T) {
	plain, keys := model.Probe{Name: "p"}, model.Probe{Name: "p", Preserve: true}
	count, expects := model.Probe{Name: "p", NotLess: true}, model.Probe{Name: "p", Expect: "^yes$"}
	for _, c := range []struct {
		name      string
		want      model.Probe
		then, now model.CommandResult
		differs   string
	}{
		{"passes", plain, printed(0, "a"), printed(0, "b"), ""},
		{"fails as it did", plain, printed(1), printed(2), ""},
		{"came to fail", plain, printed(0), printed(1), `check "p"`},
		{"came to pass", plain, printed(1), printed(0), `check "p"`},
		{"cannot be run", plain, printed(1), model.CommandResult{Err: "gone"}, `check "p"`},
		{"does not end", plain, printed(0), model.CommandResult{}, `check "p"`},
		{"says something else", expects, printed(0, "yes"), printed(0, "no"), `check "p"`},
		{"has more", keys, printed(0, "a"), printed(0, "a", "b"), ""},
		{"has less", keys, printed(0, "a", "b"), printed(0, "b"), `lines of "p"`},
		{"lists nothing, failing", keys, printed(1, "a"), printed(1), ""},
		{"counts more", count, printed(0, "keys 3"), printed(0, "keys 4"), ""},
		{"counts less", count, printed(0, "keys 3", "~x 3"), printed(0, "keys 2", "~x 1"), `numbers of "p"`},
	} {
		if got, _ := differing(Ready(c.want, c.then, c.now)); strings.Join(got, ",") != c.differs {
			t.Errorf("%s: %q differ, want %q", c.name, got, c.differs)
		}
	}
}

func TestAsPredicted(t *testing.T) {
	keys, count := model.Probe{Name: "p", Preserve: true}, model.Probe{Name: "p", NotLess: true}
	pair := func(before, after model.CommandResult) model.ProbeResult {
		return model.ProbeResult{Name: "p", Before: before, After: after}
	}
	kept := pair(printed(0, "a", "b"), printed(0, "a", "b"))
	for _, c := range []struct {
		name        string
		want        model.Probe
		trial, real model.ProbeResult
		differs     string
		lost        int
	}{
		{"as in the trial", keys, kept, pair(printed(0, "a", "b", "c"), printed(0, "a", "b", "c", "d")), "", 0},
		{"lost", keys, kept, pair(printed(0, "a", "b", "c"), printed(0, "b")), `lines of "p"`, 2},
		{"lost as in the trial", keys, pair(printed(0, "a", "b"), printed(0, "b")), pair(printed(0, "a", "b"), printed(0, "b")), "", 0},
		{"came to fail", keys, kept, pair(printed(0, "a"), printed(1)), `check "p",lines of "p"`, 0},
		{"mended", model.Probe{Name: "p"}, pair(printed(1), printed(0)), pair(printed(1), printed(0)), "", 0},
		{"not mended", model.Probe{Name: "p"}, pair(printed(1), printed(0)), pair(printed(1), printed(1)), `check "p"`, 0},
		{"fell", count, pair(printed(0, "n 3"), printed(0, "n 3")), pair(printed(0, "n 9"), printed(0, "n 8")), `numbers of "p"`, 1},
		{"fell as in the trial", count, pair(printed(0, "n 3"), printed(0, "n 1")), pair(printed(0, "n 9"), printed(0, "n 7")), "", 0},
		{"may fall", count, pair(printed(0, "~n 3"), printed(0, "~n 3")), pair(printed(0, "~n 9"), printed(0, "~n 1")), "", 0},
	} {
		got, lost := differing(AsPredicted(c.want, c.trial, c.real))
		if strings.Join(got, ",") != c.differs || lost != c.lost {
			t.Errorf("%s: %q differ and %d are lost, want %q and %d", c.name, got, lost, c.differs, c.lost)
		}
	}
}

func TestEndedAsPredicted(t *testing.T) {
	killed := model.CommandResult{Exit: &model.Exit{Code: -1, Signal: "SIGINT"}}
	for real, same := range map[*model.CommandResult]bool{
		{Exit: &model.Exit{}}: true, {Exit: &model.Exit{Code: 1}}: false, &killed: false, {}: false, {Err: "x"}: false,
	} {
		if got := Ended(printed(0), *real); got.Same != same || got.What == "" || slices.Contains([]string{got.Trial, got.Real}, "") {
			t.Errorf("%+v: got %+v", *real, got)
		}
	}
}
