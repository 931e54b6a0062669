package cli

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/live"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/registry"
)

// waiting is an engine whose run watches until it is stopped.
type waiting struct {
	*fake
	acting chan struct{} // has an entry when a run waits
}

func (w *waiting) Run(ctx context.Context, spec model.Spec, work string, progress func(string, string)) (*model.Report, error) {
	steer := live.From(ctx)
	steer.Attend(live.Hands{Worlds: func() []live.World { return []live.World{{Name: "trial", Processes: 4, Memory: 3 << 20}} }})
	defer steer.Leave()
	progress("act", "in the trial world")
	ctx, release := steer.Within(ctx, live.ForAction, time.Hour)
	defer release()
	w.acting <- struct{}{}
	<-ctx.Done()
	r, err := w.fake.Run(ctx, spec, work, func(string, string) {})
	r.Trial.Steered = steer.Steered()
	return r, err
}

// begin starts a run in the background, and returns what waits for its end.
func (w *waiting) begin(b *bench) (ended func() int) {
	status := make(chan int, 1)
	go func() {
		got, _, _ := b.run(words("run -q --match etcd -- true")...)
		status <- got
	}()
	<-w.acting
	return func() int { return <-status }
}

func TestSteer(t *testing.T) {
	w := &waiting{fake: cluster(), acting: make(chan struct{}, 2)}
	b := newBench(t, w)
	b.want(ExitError, words("status"), "no run goes on")
	ended := w.begin(b)

	out := b.want(0, words("status"))
	for _, text := range []string{"phase    act: in the trial world, for ", "action   began ", "left\n", "members  etcd1, etcd2\n", "command  ", "trial    4 processes, 3.0 MiB\n"} {
		if !strings.Contains(out, text) {
			t.Errorf("status has no %q:\n%s", text, out)
		}
	}
	var st runStatus
	if err := json.Unmarshal([]byte(b.want(0, words("status --json"))), &st); err != nil {
		t.Fatal(err)
	}
	if st.Phase != "act" || st.PID != os.Getpid() || len(st.Waits) != 1 || st.Waits[0].Left > time.Hour || len(st.Worlds) != 1 {
		t.Errorf("status %+v", st)
	}
	if out := b.want(0, words("extend 1h")); !strings.Contains(out, "run "+st.Run+": the action has ") {
		t.Errorf("extend says %q", out)
	}
	b.want(ExitUsage, words("extend"), "by how much?")
	b.want(ExitUsage, words("extend soon"), `"soon" is not a duration`)
	b.want(ExitUsage, words("extend 0s"), "must be more than 0")
	b.want(ExitUsage, words("stop a b"), "pilot stop takes one run, got 2")
	b.want(ExitError, words("status nosuch"), "no such run")

	other := w.begin(b)
	b.want(ExitUsage, words("stop"), "which run? 2 go on:", st.Run+" (act: ", "pilot: hint: pilot stop ")
	if out := b.want(0, []string{"stop", st.Run}); !strings.Contains(out, "verdict will be unknown") {
		t.Errorf("stop says %q", out)
	}
	if got := ended(); got != ExitPass { // the fake judges nothing
		t.Errorf("exit status %d", got)
	}
	var r model.Report
	if err := json.Unmarshal([]byte(b.want(0, []string{"report", "--json", st.Run})), &r); err != nil || r.Trial.Steered.Stopped != live.ForAction || r.Trial.Steered.Timeout != time.Hour {
		t.Errorf("the report tells of %+v (%v)", r.Trial.Steered, err)
	}
	b.want(ExitError, []string{"stop", st.Run}, "does not go on, it is pass")
	b.want(0, words("stop"))
	other()
	if left, _ := filepath.Glob(filepath.Join(b.env["XDG_STATE_HOME"], "pilot", "runs", "*", "control")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestGcSweepsSockets(t *testing.T) {
	e := cluster()
	b := newBench(t, e)
	b.want(0, words("run --match etcd -- true"))
	store, err := registry.Open(filepath.Join(b.env["XDG_STATE_HOME"], "pilot"), registry.StartTime)
	if err != nil {
		t.Fatal(err)
	}
	run, err := store.Find("latest")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(run.Dir) // the path is too long otherwise
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: "control", Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close() // as if pilot had died
	b.want(0, words("gc"))
	if _, err := os.Lstat("control"); err == nil {
		t.Error("the socket is still there")
	}
}
