package plan

import (
	"slices"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
)

// sound is a process without anything to object to.
func sound() ProcessFacts {
	return ProcessFacts{
		Member: model.Member{Name: "m1", PID: 4000}, State: "S (sleeping)", ParentPID: 1, AgentPID: 5000,
		UIDs: []int{0, 0, 0, 0}, Root: "/", TIDs: []int{4000, 4001},
		Descriptors: []Descriptor{{FD: 0, Kind: "file", Known: true}, {FD: 5, Kind: "epoll", Known: true}},
	}
}

func TestPreflight(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*ProcessFacts)
		kinds  []string
	}{
		{"sound", func(*ProcessFacts) {}, nil},
		{"kernel thread", func(f *ProcessFacts) { f.KernelTask = true }, []string{"kernel thread"}},
		{"zombie", func(f *ProcessFacts) { f.State = "Z (zombie)" }, []string{"zombie"}},
		{"traced", func(f *ProcessFacts) { f.TracerPID = 7 }, []string{"tracee"}},
		{"our child", func(f *ProcessFacts) { f.ParentPID = 5000 }, []string{"child of pilot"}},
		{"strict seccomp", func(f *ProcessFacts) { f.Seccomp = 1 }, []string{"strict seccomp"}},
		{"shadow stack", func(f *ProcessFacts) { f.Shadow = true }, []string{"shadow stack"}},
		{"chroot", func(f *ProcessFacts) { f.Root = "/srv/jail" }, []string{"chroot"}},
		{"container", func(f *ProcessFacts) { f.Foreign = []string{"mnt", "pid"} }, []string{"mnt", "pid"}},
		{"user", func(f *ProcessFacts) { f.UIDs = []int{33, 33, 33, 33} }, []string{"uid 33"}},
		{"low tid", func(f *ProcessFacts) { f.TIDs = []int{7, 90} }, []string{"tid 7"}},
		{"io_uring", func(f *ProcessFacts) {
			f.Descriptors = append(f.Descriptors, Descriptor{FD: 9, Kind: "anon_inode:[io_uring]"})
		}, []string{"anon_inode:[io_uring]"}},
		{"SysV", func(f *ProcessFacts) { f.Mappings = []Mapping{{Path: "/SYSV00000000", Shared: true}} }, []string{"SysV shared memory"}},
		{"aio", func(f *ProcessFacts) { f.Mappings = []Mapping{{Path: "/[aio]", Shared: true}} }, []string{"aio"}},
		{"userfaultfd", func(f *ProcessFacts) { f.Mappings = []Mapping{{Flags: []string{"um"}}} }, []string{"userfaultfd"}},
		{"device", func(f *ProcessFacts) { f.Mappings = []Mapping{{Path: "/dev/mem", Flags: []string{"io"}}} }, []string{"device memory"}},
		{"big shared memory", func(f *ProcessFacts) {
			f.Mappings = []Mapping{{End: 65 << 20, Path: "/x/y", Shared: true, Flags: []string{"mw"}}}
		}, []string{"shared memory"}},
		{"big shared memory in the data", func(f *ProcessFacts) {
			f.Member.Data = []string{"/x"}
			f.Mappings = []Mapping{{End: 65 << 20, Path: "/x/y", Shared: true, Flags: []string{"mw"}}}
		}, nil},
		{"vvar", func(f *ProcessFacts) { f.Mappings = []Mapping{{Path: "[vvar]", Flags: []string{"io", "dc"}}} }, nil},
	} {
		f := sound()
		c.change(&f)
		refusals, _, _ := Preflight(f)
		var kinds []string
		for _, r := range refusals {
			kinds = append(kinds, r.Kind)
			if r.Why == "" || r.Object == "" || r.Member != "m1" {
				t.Errorf("%s: incomplete refusal %+v", c.name, r)
			}
		}
		if !slices.Equal(kinds, c.kinds) {
			t.Errorf("%s: refused %q, want %q", c.name, kinds, c.kinds)
		}
	}
}

func TestPreflightRows(t *testing.T) {
	f := sound()
	f.Children = []int{4010}
	f.Descriptors = append(f.Descriptors, Descriptor{FD: 6, Kind: "epoll", Known: true}, Descriptor{FD: 9, Kind: "anon_inode:[bpf-map]"})
	_, gaps, objects := Preflight(f)
	if len(gaps) != 1 {
		t.Errorf("gaps %v, want the child", gaps)
	}
	want := []model.Object{{Kind: "anon_inode:[bpf-map]", Count: 1, Status: "refused"}, {Kind: "epoll", Count: 2, Status: "ok"}, {Kind: "file", Count: 1, Status: "ok"}}
	if !slices.Equal(objects, want) {
		t.Errorf("objects %v, want %v", objects, want)
	}
	if Predict(f) <= 0 {
		t.Error("no prediction")
	}
}
