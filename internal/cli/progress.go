package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/mask"
	"github.com/pilotexec/pilot/internal/model"
)

// progress tells on stderr what goes on.
type progress struct {
	w     io.Writer
	quiet bool
}

func (p progress) printf(format string, args ...any) {
	if !p.quiet {
		fmt.Fprintf(p.w, "pilot: %s\n", mask.Text(fmt.Sprintf(format, args...)))
	}
}

// announce says, before anything happens, what will be stopped and for how
// long at most.
func (p progress) announce(spec model.Spec) {
	var up, down []string
	for _, m := range spec.Members {
		if m.Down() {
			down = append(down, m.Name)
		} else {
			up = append(up, fmt.Sprintf("%s (pid %d)", m.Name, m.PID))
		}
	}
	if len(up) > 0 {
		p.printf("will stop %s for at most %s to fork them", strings.Join(up, ", "), spec.MaxPause)
	}
	if len(down) > 0 {
		p.printf("down: %s", strings.Join(down, ", "))
	}
	if spec.Shell {
		p.printf("a shell in the fork follows, for at most %s; what is done there has no effect on production", spec.Timeout)
		return
	}
	p.printf("will try in the fork: %s", strings.Join(mask.Args(spec.Action), " "))
}

func (p progress) phase(phase, text string) {
	if text == "" {
		p.printf("%s", phase)
		return
	}
	p.printf("%s: %s", phase, text)
}

// released says what production felt, and what to type next.
func (p progress) released(r *model.Report) {
	p.printf("production was released after %.1f ms and goes on", float64(r.Pause.Total)/float64(time.Millisecond))
	p.printf("next: pilot report %s -o json", r.ID)
	if r.Verdict.Status == model.Pass {
		p.printf("for real: pilot apply %s", r.ID)
	}
}
