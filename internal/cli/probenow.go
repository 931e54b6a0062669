package cli

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// Limits of a check, as in a world.
const (
	probePatience = 15 * time.Second // where it has no limit of its own
	probeOutput   = 1 << 20
	probeGrace    = time.Second // for what has its output open still
)

// probeNow runs a check on production: checks only read.
func (a *app) probeNow(ctx context.Context, p model.Probe, env []string, dir string) (r model.CommandResult) {
	limit := p.Timeout
	if limit == 0 {
		limit = probePatience
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	out := &tail{}
	cmd := exec.CommandContext(ctx, lookIn(env, p.Command[0]), p.Command[1:]...)
	cmd.Args[0] = p.Command[0]
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = env, dir, out, out
	// All that it starts ends with it; Ctrl-C at the terminal ends it through pilot.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = probeGrace
	began := time.Now()
	err := cmd.Run()
	r.Duration, r.Output, r.Cut = time.Since(began), string(out.text), out.cut
	switch {
	case cmd.ProcessState == nil:
		r.Err = err.Error()
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		// It did not end in time: no exit.
	default:
		r.Exit = exitOf(cmd.ProcessState)
	}
	return r
}

// lookIn finds a program by the PATH of an environment, as the run did, which may
// not be that of this process.
func lookIn(env []string, name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	for _, e := range slices.Backward(env) {
		list, ok := strings.CutPrefix(e, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(list) {
			if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil && filepath.IsAbs(dir) {
				return path
			}
		}
		break
	}
	return name
}

// A tail keeps the end of what is written to it.
type tail struct {
	text []byte
	cut  bool
}

func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	if more := len(t.text) - probeOutput; more > 0 {
		t.text, t.cut = append(t.text[:0], t.text[more:]...), true
	}
	return len(p), nil
}
