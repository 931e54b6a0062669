package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/registry"
)

// abandon records a run whose process is dead, with something left of it.
func (b *bench) abandon() (id, work string) {
	b.t.Helper()
	dead := func(int) (uint64, error) { return 1, nil } // no process has this start time
	store, err := registry.Open(filepath.Join(b.env["XDG_STATE_HOME"], "pilot"), dead)
	if err != nil {
		b.t.Fatal(err)
	}
	r, err := store.Begin(model.Spec{Action: []string{"a", "b\nc"}, Members: []model.Member{{Name: "kv"}}})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(r.Work(), "image"), 0o700); err != nil {
		b.t.Fatal(err)
	}
	return r.ID(), r.Work()
}

func TestPs(t *testing.T) {
	b := newBench(t, cluster())
	id, _ := b.abandon()
	out := b.want(0, words("ps"), "pilot gc erases")
	if !strings.Contains(out, id+"  abandoned  ") || !strings.Contains(out, `kv       "a b\nc"`) {
		t.Errorf("got %s", out)
	}
	var list struct {
		Version int
		Runs    []registry.Entry
	}
	if err := json.Unmarshal([]byte(b.want(0, words("ps -o json"))), &list); err != nil || list.Version != model.Version || len(list.Runs) != 1 || list.Runs[0].Status != "abandoned" {
		t.Errorf("got %+v, %v", list, err)
	}
	b.want(ExitUsage, words("ps x"), `pilot ps takes no operand, got "x"`)
}

func TestGc(t *testing.T) {
	e := cluster()
	e.erased = []string{"world trial"}
	b := newBench(t, e)
	b.want(0, words("run --match etcd -- true"))
	id, work := b.abandon()
	if out := b.want(0, words("gc"), "pilot: erased world trial\n"); out != id+"\n" {
		t.Errorf("got %q", out)
	}
	if len(e.swept) != 1 || e.swept[0] != work {
		t.Errorf("swept %v", e.swept)
	}
	if out := b.want(0, words("ps")); strings.Contains(out, id) || !strings.Contains(out, "pass") {
		t.Errorf("got %s", out)
	}
	b.want(ExitUsage, words("gc x"), "takes no operand")
}

func TestGcKeepsTheRecordOfWhatItCannotErase(t *testing.T) {
	e := cluster()
	e.sweepErr = errors.New("busy")
	b := newBench(t, e)
	id, _ := b.abandon()
	b.want(ExitError, words("gc"), "pilot: error: busy")
	if out := b.want(0, words("ps")); !strings.Contains(out, id) {
		t.Errorf("got %s", out)
	}
}

func TestRm(t *testing.T) {
	e := cluster()
	b := newBench(t, e)
	b.want(0, words("run --match etcd -- true"))
	id, work := b.abandon()
	b.want(0, []string{"rm", "latest", id[:5]})
	if len(e.swept) != 1 || e.swept[0] != work {
		t.Errorf("swept %v", e.swept)
	}
	if out := b.want(0, words("ps")); strings.Count(out, "\n") != 1 {
		t.Errorf("got %s", out)
	}
	b.want(ExitError, words("rm a1 b1"), "no such run: a1", "no such run: b1")
	b.want(ExitUsage, words("rm"), "no run to erase")
}

func TestDoctor(t *testing.T) {
	e := cluster()
	e.diagnoses = []model.Diagnosis{
		{Member: model.Member{Name: "etcd1", PID: 11}, Threads: 12, Resident: 64 << 20, DataBytes: 5 << 20, Predicted: model.Pause{Total: 3100 * time.Microsecond, Stop: time.Millisecond, Capture: 2 * time.Millisecond, Release: 100 * time.Microsecond},
			Objects: []model.Object{{Kind: "tcp", Count: 12, Status: "ok"}, {Kind: "anon_inode:[eventpoll]", Count: 1, Status: "ok", Detail: "edge"}},
			Gaps:    []model.Gap{{Object: "fd 9", Detail: "dead"}}},
		{Member: model.Member{Name: "etcd3"}, DataBytes: 1 << 20},
	}
	b := newBench(t, e)
	const want = `etcd1 (pid 11): 12 threads, 64.0 MiB resident, 5.0 MiB of data, predicted pause 3.1ms
  ok  12  tcp                     
  ok  1   anon_inode:[eventpoll]  edge
  ? fd 9: dead

etcd3: down, 1.0 MiB of data

can be piloted, predicted pause 3.1ms: stop 1ms, capture 2ms, fork 0s, release 100µs, and what it takes to compare files that change
`
	if out := b.want(0, words("doctor etcd")); out != want {
		t.Errorf("got\n%s", out)
	}
	if len(e.spec.Members) != 2 {
		t.Errorf("members: %+v", e.spec.Members)
	}
	if out := b.want(0, words("doctor --max-pause 2ms 11")); !strings.HasSuffix(out, "can be piloted, but the predicted pause of 3.1ms is above --max-pause 2ms\n") || e.spec.Members[0].PID != 11 {
		t.Errorf("got %s", out)
	}
	e.diagnoses[1].Refusals = []model.Refusal{{Object: "kernel", Why: "too old", Hint: "5.14"}}
	if out := b.want(ExitRefused, words("doctor etcd")); !strings.HasSuffix(out, "  x kernel: too old\n    hint: 5.14\n\ncannot be piloted: 1 object is refused\n") {
		t.Errorf("got %s", out)
	}
	if out := b.want(ExitRefused, words("doctor -o json etcd")); !json.Valid([]byte(out)) {
		t.Errorf("got %s", out)
	}
	e.diagnoses = []model.Diagnosis{{}}
	if out := b.want(0, words("doctor")); out != "this host\n\ncan be piloted\n" {
		t.Errorf("got %q", out)
	}
	b.want(ExitUsage, words("doctor a b"), "takes one target")
}

func TestDemo(t *testing.T) {
	b := newBench(t, nil)
	b.demo = func(_ context.Context, stdout, _ io.Writer) int {
		_, _ = io.WriteString(stdout, "shown\n")
		return 7
	}
	if out := b.want(7, words("demo")); out != "shown\n" {
		t.Errorf("got %q", out)
	}
}
