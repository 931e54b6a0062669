package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
)

// etcds is an engine with two nodes whose data, and those of a third, are in dir.
func etcds(t *testing.T, dir string) *fake {
	t.Helper()
	f := &fake{status: model.Pass, found: map[string][]model.Member{}}
	for i, name := range []string{"e1", "e2", "e3"} {
		data := filepath.Join(dir, name+".etcd")
		if err := os.Mkdir(data, 0o700); err != nil {
			t.Fatal(err)
		}
		if name == "e3" {
			break
		}
		m := model.Member{Name: name, PID: 1<<30 + i, Exe: "/usr/bin/etcd", Args: []string{"etcd", "--name", name, "--data-dir", data,
			"--listen-client-urls", "http://127.0.0.1:237" + string(rune('1'+i)), "--initial-cluster", "e1=http://a,e2=http://b,e3=http://c,e4=http://d"}}
		f.found["etcd"] = append(f.found["etcd"], m)
		f.found[""] = append(f.found[""], m)
	}
	return f
}

func TestPresetFindsAll(t *testing.T) {
	dir := t.TempDir()
	for _, args := range []string{"run -- true", "run --preset auto -- true", "run --preset etcd -- true"} {
		e := etcds(t, filepath.Join(dir))
		b := newBench(t, e)
		b.want(0, words(args), "pilot: preset etcd")
		s := e.spec
		if len(s.Members) != 3 || !s.Members[2].Down() || s.Members[2].Name != "e3" || s.Members[2].Data[0] != filepath.Join(dir, "e3.etcd") {
			t.Fatalf("%s: %+v", args, s.Members)
		}
		if got := s.Members[0].Known; !slices.Equal(got, []string{filepath.Join(dir, "e1.etcd")}) || len(s.Members[0].Data) > 0 {
			t.Errorf("%s: data %q", args, got)
		}
		if len(s.Probes) != 2 || s.Probes[0].NotLess || !s.Probes[1].NotLess || s.Probes[1].Name != "etcd numbers" {
			t.Fatalf("%s: %+v", args, s.Probes)
		}
		if got := strings.Join(s.Probes[1].Command[1:], " "); got != "probe etcd numbers 127.0.0.1:2371 127.0.0.1:2372" {
			t.Errorf("%s: %q", args, got)
		}
		for _, name := range []string{"e1", "e2", "e3"} {
			if err := os.Remove(filepath.Join(dir, name+".etcd")); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestPresetOfNamedMembers(t *testing.T) {
	e := etcds(t, t.TempDir())
	b := newBench(t, e)
	b.want(0, words("run --match etcd -- true"), "--preset etcd would check")
	if len(e.spec.Probes) != 0 || len(e.spec.Members) != 2 || len(e.spec.Members[0].Known) > 0 {
		t.Errorf("a hint alone changes nothing: %+v", e.spec)
	}
	b.want(0, words("run --match etcd --preset auto --check true -- true"))
	if len(e.spec.Probes) != 3 || len(e.spec.Members) != 2 {
		t.Errorf("no nodes are added to those that were named: %+v", e.spec)
	}
	b.env["PILOT_PRESET"] = "none"
	b.want(64, words("run -- true"), "no members")
	b.want(0, words("run --preset etcd -- true"))
	b.file("pilot.yaml", "preset: etcd\n")
	b.env = map[string]string{"XDG_STATE_HOME": t.TempDir()}
	b.want(0, words("run -- true"), "preset etcd")
	b.want(0, words("doctor --preset etcd"))
	if len(e.spec.Members) != 3 {
		t.Errorf("doctor: %+v", e.spec.Members)
	}
}

func TestPresetOfSeveralSystems(t *testing.T) {
	e := etcds(t, t.TempDir())
	e.found["redis-server"] = []model.Member{{Name: "redis-server-1073741831", PID: 1073741831, Exe: "/usr/bin/redis-server", Dir: "/", Args: []string{"redis-server 127.0.0.1:6400"}}}
	b := newBench(t, e)
	b.want(64, words("run -- true"), "which of etcd, redis", "--preset etcd")
	b.want(0, words("run --preset redis -- true"))
	if got := e.spec.Members; len(got) != 1 || got[0].Name != "redis-6400" || len(got[0].Known) > 0 {
		t.Errorf("%+v", got)
	}
}

func TestProbeCommand(t *testing.T) {
	b := newBench(t, cluster())
	b.want(64, words("probe etcd"), "needs a system and an address")
	b.want(1, words("probe tcp 127.0.0.1:1"), "probe tcp")
	if _, out, _ := b.run("help"); strings.Contains(out, "probe") {
		t.Error("probe is in the overview")
	}
}
