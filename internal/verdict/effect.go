package verdict

import (
	"fmt"

	"github.com/pilotexec/pilot/internal/model"
)

// effects lists what the action did that outlives it: file changes that the
// control does not have, processes it left running or that ended badly,
// phantoms that it ended, and what it tried to reach beyond the world.
func effects(o model.Observation) []model.Effect {
	list := []model.Effect{}
	for _, p := range o.Trial.Processes {
		if c := phantom(o.Control, p.PID); p.Phantom && p.Exit != nil && (c == nil || c.Exit == nil) {
			list = append(list, processEffect("-", p, how(p.Exit)))
		}
	}
	for _, p := range children(o.Trial) {
		switch twin := twinOf(o.Control, p); {
		case twin != nil && (same(twin.Exit, p.Exit) || twin.Exit == nil && p.Exit == nil):
		case p.Exit == nil:
			list = append(list, processEffect("+", p, "runs"))
		case !p.Exit.OK():
			list = append(list, processEffect("x", p, how(p.Exit)))
		}
	}
	background := changeSet(o.Control.Files)
	for _, f := range o.Trial.Files {
		lost, too := background[change{f.Sign, f.Path}]
		if !too || f.Lost > lost {
			list = append(list, model.Effect{Sign: f.Sign, Kind: "file", Object: f.Path, Member: f.Member, Detail: detail(f)})
		}
	}
	return append(list, attemptEffects(o)...)
}

func processEffect(sign string, p model.Process, state string) model.Effect {
	object := commandLine(p.Args)
	if object == "" {
		object = name(p)
	}
	return model.Effect{Sign: sign, Kind: "process", Object: object, Member: p.Member, Detail: fmt.Sprintf("pid %d, %s", p.PID, state)}
}

// A change is a file change without its sizes, by which worlds are compared: a
// log that grows in both does so by chance at a different pace.
type change struct{ sign, path string }

// changeSet has the records that each change lost.
func changeSet(files []model.FileChange) map[change]int64 {
	set := make(map[change]int64, len(files))
	for _, f := range files {
		set[change{f.Sign, f.Path}] = f.Lost
	}
	return set
}

// detail is what became of what a file holds, or of its size.
func detail(f model.FileChange) string {
	if f.Meaning != "" {
		return sizes(f) + "; " + f.Meaning
	}
	return sizes(f)
}

func sizes(f model.FileChange) string {
	switch {
	case f.Sign == "+":
		return bytes(f.New)
	case f.Sign == "-":
		return "had " + bytes(f.Old)
	case f.Old == f.New:
		return bytes(f.New) + ", other content"
	default:
		return bytes(f.Old) + " to " + bytes(f.New)
	}
}

// bytes is n for people: "64.0 MiB".
func bytes(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/1024, 0
	for value >= 1024 && unit < 3 {
		value, unit = value/1024, unit+1
	}
	return fmt.Sprintf("%.1f %s", value, []string{"KiB", "MiB", "GiB", "TiB"}[unit])
}
