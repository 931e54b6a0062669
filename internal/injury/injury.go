// Package injury reads what a user says of second failures: which, whose and
// when. It is pure.
package injury

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/nearest"
)

// A Moment is when an injury is made. One of the fields is set, or none for the
// beginning of the action.
type Moment struct {
	After time.Duration  // of the beginning of the action
	Done  bool           // when the action has ended
	Log   *regexp.Regexp // when a line of a log matches
	File  string         // when this file is made or changed
}

// Parse reads [KIND[=DURATION]:]MEMBER@WHEN.
func Parse(text string) (model.Injury, error) {
	who, when, found := strings.Cut(text, "@")
	if !found || who == "" || when == "" {
		return model.Injury{}, fmt.Errorf("%q is not [KIND:]MEMBER@WHEN", text)
	}
	i := model.Injury{Kind: model.InjuryKill, Member: who, When: when}
	if kind, member, found := strings.Cut(who, ":"); found {
		i.Kind, i.Member = kind, member
	}
	if kind, length, found := strings.Cut(i.Kind, "="); found {
		d, err := time.ParseDuration(length)
		if err != nil || d <= 0 {
			return model.Injury{}, fmt.Errorf("%q: %q is not a duration, such as 5s", text, length)
		}
		i.Kind, i.For = kind, d
	}
	if err := Check(i); err != nil {
		return model.Injury{}, fmt.Errorf("%q: %w", text, err)
	}
	return i, nil
}

// Check says what is wrong with i, whoever its members are.
func Check(i model.Injury) error {
	switch {
	case !slices.Contains(model.InjuryKinds, i.Kind):
		hint := "there are " + strings.Join(model.InjuryKinds, ", ")
		if guess := nearest.To(i.Kind, model.InjuryKinds); guess != "" {
			hint = fmt.Sprintf("did you mean %q?", guess)
		}
		return fmt.Errorf("no failure is called %q; %s", i.Kind, hint)
	case i.Member == "":
		return fmt.Errorf("whose failure?")
	case i.For < 0 || i.For > 0 && i.Kind == model.InjuryKill:
		return fmt.Errorf("%s cannot be taken back: no duration goes with it", i.Kind)
	}
	_, err := MomentOf(i)
	return err
}

// MomentOf reads when i is made.
func MomentOf(i model.Injury) (m Moment, err error) {
	kind, arg, _ := strings.Cut(i.When, ":")
	switch {
	case i.When == "action":
	case i.When == "done":
		m.Done = true
	case kind == "log":
		if m.Log, err = regexp.Compile(arg); err != nil {
			return m, err
		}
		if arg == "" || m.Log.MatchString("") {
			return m, fmt.Errorf("log:%s matches every line", arg)
		}
	case kind == "file":
		if !filepath.IsAbs(arg) {
			return m, fmt.Errorf("file:%s: not an absolute path", arg)
		}
		m.File = filepath.Clean(arg)
	default:
		if m.After, err = time.ParseDuration(i.When); err != nil || m.After < 0 {
			return m, fmt.Errorf("%q is no moment: a time such as 2s, action, done, log:REGEXP or file:PATH", i.When)
		}
	}
	return m, nil
}

// Members says which of all is not the name of a member, or nothing.
func Members(all []model.Injury, members []model.Member) error {
	var names []string
	for _, m := range members {
		names = append(names, m.Name)
	}
	for _, i := range all {
		if slices.Contains(names, i.Member) {
			continue
		}
		hint := "there are " + strings.Join(names, ", ")
		if guess := nearest.To(i.Member, names); guess != "" {
			hint = fmt.Sprintf("did you mean %q?", guess)
		}
		return fmt.Errorf("%s: no member is called %q; %s", i, i.Member, hint)
	}
	return nil
}
