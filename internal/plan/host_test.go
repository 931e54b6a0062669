package plan

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestHostGaps(t *testing.T) {
	if gaps := HostGaps(HostFacts{}); len(gaps) > 0 {
		t.Errorf("a host that has everything lacks %v", gaps)
	}
	if gaps := HostGaps(HostFacts{NoTun: true}); len(gaps) != 1 || gaps[0].Object != "/dev/net/tun" {
		t.Errorf("without a tun device: %v", gaps)
	}
}

func TestHost(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*HostFacts)
		kinds  []string
	}{
		{"root", func(*HostFacts) {}, nil},
		{"Yama for children only", func(f *HostFacts) { f.PtraceScope = 1 }, nil},
		{"Yama for administrators only", func(f *HostFacts) { f.PtraceScope = 2 }, nil},
		{"Yama for nobody", func(f *HostFacts) { f.PtraceScope = 3 }, []string{"kernel.yama.ptrace_scope = 3"}},
		{"namespaces", func(f *HostFacts) { f.MaxNamespaces = map[string]int{"user": 9, "net": 1} }, nil},
		{"no namespaces", func(f *HostFacts) { f.MaxNamespaces = map[string]int{"user": 0, "time": 0, "net": 1} },
			[]string{"user.max_time_namespaces = 0", "user.max_user_namespaces = 0"}},
		{"hidden processes", func(f *HostFacts) { f.HidePID = "hidepid=2" }, nil},
		{"hidden processes, no tracing", func(f *HostFacts) { f.HidePID = "hidepid=2"; f.Capabilities &^= 1 << 19 },
			[]string{"CAP_SYS_PTRACE", "hidepid=2"}},
		{"no administrator", func(f *HostFacts) { f.Capabilities &^= 1<<21 | 1<<12 }, []string{"CAP_NET_ADMIN", "CAP_SYS_ADMIN"}},
		{"not needed", func(f *HostFacts) { f.Capabilities &^= 1<<40 | 1<<24 | 1<<23 }, nil},
		{"settings that pilot passes", func(f *HostFacts) { f.Restrictions = []string{"kernel.unprivileged_userns_clone = 0"} }, nil},
	} {
		f := HostFacts{Capabilities: 1<<41 - 1}
		c.change(&f)
		var kinds []string
		for _, r := range Host(f) {
			kinds = append(kinds, r.Kind)
			if r.Object == "" || r.Why == "" || r.PID != 0 {
				t.Errorf("%s: incomplete refusal %+v", c.name, r)
			}
		}
		if !slices.Equal(kinds, c.kinds) {
			t.Errorf("%s: refused %q, want %q", c.name, kinds, c.kinds)
		}
	}
}

func TestWorld(t *testing.T) {
	f := HostFacts{Restrictions: []string{"SELinux enforcing"}}
	if got := World(f, 33, nil); len(got) > 0 {
		t.Errorf("refused %v", got)
	}
	for text, hint := range map[string]string{
		"fork/exec /proc/self/exe: no space left on device":     "namespaces of uid 33",
		"build world: mount /proc: operation not permitted":     "container",
		"fork/exec /proc/self/exe: operation not permitted":     "SELinux enforcing",
		"build world: build /dev: no such file or directory":    "SELinux enforcing",
		"start world init: fork/exec x: permission denied here": "SELinux",
	} {
		got := World(f, 33, errors.New(text))
		if len(got) != 1 || !strings.Contains(got[0].Why, text) || !strings.Contains(got[0].Hint, hint) {
			t.Errorf("%s: %+v", text, got)
		}
	}
}
