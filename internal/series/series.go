// Package series says what several runs of one snapshot say together: whether an
// action does the same each time, and how actions differ. It is pure.
//
// Both look at the same properties of a trial. Some of them differ from run to run
// whatever is done, such as durations and lines of logs: they are told, and prove
// nothing.
package series

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
)

// A Group is a finding that several runs have.
type Group struct {
	model.Finding
	// Runs are the numbers of the runs that have it, from 1.
	Runs []int `json:"runs"`
}

// group makes one of the findings that are alike, gravest first.
func group(reports []*model.Report, of func(*model.Report) []model.Finding) []Group {
	groups := []Group{}
	at := map[string]int{}
	for n, r := range reports {
		for _, f := range of(r) {
			i, known := at[alike(f)]
			if !known {
				i = len(groups)
				at[alike(f)] = i
				groups = append(groups, Group{Finding: f})
			}
			if !slices.Contains(groups[i].Runs, n+1) {
				groups[i].Runs = append(groups[i].Runs, n+1)
			}
		}
	}
	slices.SortStableFunc(groups, func(a, b Group) int { return rank(a.Severity) - rank(b.Severity) })
	return groups
}

func findings(r *model.Report) []model.Finding { return r.Verdict.Findings }
func noise(r *model.Report) []model.Finding    { return r.Verdict.Noise }

// alike is what findings of several runs have in common. Numbers of processes,
// times and counts are not.
func alike(f model.Finding) string {
	return fmt.Sprintf("%s %s %s %s", f.Rule, f.Severity, f.Member, withoutNumbers(f.Message))
}

// withoutNumbers has # for each run of digits that is no part of a name: the 1 of
// etcd1 stays.
func withoutNumbers(s string) string {
	var b strings.Builder
	word, number := false, false
	for _, c := range s {
		digit := c >= '0' && c <= '9'
		switch {
		case digit && !word:
			if !number {
				b.WriteByte('#')
			}
			number = true
			continue
		case !digit:
			number = false
			word = c == '_' || c == '-' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		}
		b.WriteRune(c)
	}
	return b.String()
}

func rank(s model.Severity) int {
	return slices.Index([]model.Severity{model.Error, model.Unproven, model.Warning, model.Info}, s)
}

// count is n things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
