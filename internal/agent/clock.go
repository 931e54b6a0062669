//go:build linux

package agent

import (
	"fmt"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/spawn"
)

// clockGap tells how the clocks of a trial and its control stand to those of the
// pause.
func clockGap(trial, control *spawn.World) model.Gap {
	return model.Gap{
		Object: "wall clock",
		Detail: fmt.Sprintf("at the release it was ahead of the pause by %s in the trial, %s in the control, which is the time since; monotonic clocks were by %s and %s",
			ms(trial.WallAhead), ms(control.WallAhead), ms(trial.ClockAhead), ms(control.ClockAhead)),
	}
}

// ms is d for people: "3.2 ms".
func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
