package page

import (
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// barWidth is the width of the pause's bars, in the drawing's units.
const barWidth = 1000.0

type pauseBars struct {
	Total, Predicted, Real time.Duration
	Allowed                time.Duration
	Parts                  []pausePart
	// PredictedWidth and RealWidth compare what was predicted, which is without
	// files, with what it came to.
	PredictedWidth, RealWidth float64
}

type pausePart struct {
	Name, What, Class string
	Took              time.Duration
	X, Width          float64
}

func newPauseBars(p model.Pause, allowed time.Duration) pauseBars {
	b := pauseBars{Total: p.Total, Predicted: p.Predicted, Real: p.Total - p.Files, Allowed: allowed, Parts: []pausePart{
		{Name: "stop", What: "every thread was interrupted", Class: "p1", Took: p.Stop},
		{Name: "capture", What: "registers, descriptors, sockets and pipes were read", Class: "p2", Took: p.Capture},
		{Name: "fork", What: "page tables were copied", Class: "p3", Took: p.Fork},
		{Name: "files", What: "the image of the data was made exact", Class: "p4", Took: p.Files},
		{Name: "release", What: "production was let go", Class: "p5", Took: p.Release},
	}}
	// The parts may overlap: they share the bar by their sum.
	var sum time.Duration
	for _, part := range b.Parts {
		sum += part.Took
	}
	x := 0.0
	for i := range b.Parts {
		b.Parts[i].X = round(x)
		b.Parts[i].Width = round(share(b.Parts[i].Took, sum) * barWidth)
		x += b.Parts[i].Width
	}
	longest := max(b.Predicted, b.Real)
	b.PredictedWidth, b.RealWidth = round(share(b.Predicted, longest)*barWidth), round(share(b.Real, longest)*barWidth)
	return b
}

func share(part, whole time.Duration) float64 {
	if whole <= 0 || part <= 0 {
		return 0
	}
	return min(float64(part)/float64(whole), 1)
}

// round keeps drawings short: a tenth of a unit cannot be seen.
func round(x float64) float64 { return float64(int(x*10+0.5)) / 10 }
