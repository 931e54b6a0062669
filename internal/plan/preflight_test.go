package plan

import (
	"slices"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
)

// sound is a process without anything to object to.
func sound() ProcessFacts {
	return ProcessFacts{
		Member: model.Member{Name: "m1", PID: 4000}, State: "S (sleeping)", ParentPID: 1, AgentPID: 5000,
		Credentials: []Credentials{root(4000), root(4001)}, Root: "/", TIDs: []int{4000, 4001}, Traits: Traits{Session: 4000, Group: 4000},
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
		{"zombie without an executable", func(f *ProcessFacts) { f.State, f.KernelTask = "Z (zombie)", true }, []string{"zombie"}},
		{"dead", func(f *ProcessFacts) { f.State = "X (dead)" }, []string{"zombie"}},
		{"traced", func(f *ProcessFacts) { f.TracerPID = 7 }, []string{"tracee"}},
		{"our child", func(f *ProcessFacts) { f.ParentPID = 5000 }, []string{"child of pilot"}},
		{"strict seccomp", func(f *ProcessFacts) { f.Seccomp = 1 }, []string{"strict seccomp"}},
		{"filters that allow", func(f *ProcessFacts) { f.Seccomp = 2 }, nil},
		{"filters that deny", func(f *ProcessFacts) {
			f.Seccomp, f.Filtering.Denied = 2, []string{"clone: a filter kills the process"}
		}, []string{"seccomp filter"}},
		{"filters of one thread", func(f *ProcessFacts) { f.Filtering.Unlike = 4001 }, []string{"seccomp filter"}},
		{"filters with a supervisor", func(f *ProcessFacts) { f.Seccomp, f.Filtering.Supervised = 2, true }, []string{"seccomp filter"}},
		{"filters that are secret", func(f *ProcessFacts) { f.Seccomp, f.Filtering.Err = 2, "permission denied" }, []string{"seccomp filter"}},
		{"deadline", func(f *ProcessFacts) { f.Traits.Deadline = true }, []string{"SCHED_DEADLINE"}},
		{"shadow stack", func(f *ProcessFacts) { f.Shadow = true }, []string{"shadow stack"}},
		{"chroot", func(f *ProcessFacts) { f.Root = "/srv/jail" }, []string{"chroot"}},
		{"users without a root", func(f *ProcessFacts) { f.Rootless = true }, []string{"user"}},
		{"private mounts", func(f *ProcessFacts) { f.Foreign = []string{"mnt", "net"} }, []string{"mnt", "net"}},
		{"user", func(f *ProcessFacts) { f.Credentials = []Credentials{user(4000, 33), user(4001, 33)} }, nil},
		{"users", func(f *ProcessFacts) { f.Credentials = []Credentials{user(4000, 33), user(4001, 34)} }, []string{"uid 34"}},
		{"groups", func(f *ProcessFacts) { f.Credentials[1].Groups = []int{7} }, []string{"uid 0"}},
		{"one thread without capabilities", func(f *ProcessFacts) { f.Credentials[1].CapEff = 0 }, nil},
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
		{"deleted shared memory in the data", func(f *ProcessFacts) {
			f.Member.Data = []string{"/x"}
			f.Mappings = []Mapping{{End: 65 << 20, Path: "/x/y", Deleted: true, Shared: true, Flags: []string{"mw"}}}
		}, []string{"shared memory"}},
		{"big memory that fork leaves out", func(f *ProcessFacts) {
			f.Mappings = []Mapping{{End: 40 << 20, Flags: []string{"dc"}}, {Start: 40 << 20, End: 80 << 20, Flags: []string{"wf"}}}
		}, []string{"shared memory"}},
		{"memory as large as is allowed", func(f *ProcessFacts) {
			f.Mappings = []Mapping{{End: 64 << 20, Flags: []string{"dc"}}}
		}, nil},
		{"memory that may be dropped", func(f *ProcessFacts) {
			f.Mappings = []Mapping{{End: 80 << 20, Flags: []string{"wf", "dp"}}}
		}, nil},
		{"shadow stack memory", func(f *ProcessFacts) { f.Mappings = []Mapping{{Flags: []string{"ss"}}} }, []string{"shadow stack"}},
		{"write-protected memory", func(f *ProcessFacts) { f.Mappings = []Mapping{{Flags: []string{"uw"}}} }, []string{"userfaultfd"}},
		{"a ring", func(f *ProcessFacts) {
			f.Mappings = []Mapping{{Path: "anon_inode:[io_uring]", Shared: true, Flags: []string{"io", "dc"}}}
		}, []string{"anon_inode:[io_uring]"}},
		{"pages of a device driver", func(f *ProcessFacts) {
			f.Mappings = []Mapping{{Path: "/dev/dri/card0", Shared: true, Flags: []string{"pf"}}}
		}, []string{"device memory"}},
		{"much at once", func(f *ProcessFacts) {
			f.TracerPID, f.Seccomp, f.Foreign = 7, 1, []string{"net"}
			f.Descriptors = []Descriptor{{FD: 4, Kind: "pidfd:[9]"}, {FD: 5, Kind: "mqueue"}}
			f.Mappings = []Mapping{{Path: "/SYSV1"}, {Path: "/[aio]"}}
		}, []string{"tracee", "strict seccomp", "net", "pidfd:[9]", "mqueue", "SysV shared memory", "aio"}},
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
	want := []model.Object{{Kind: "anon_inode:[bpf-map]", Count: 1, Status: "refused", Detail: "runs in the kernel for all processes"}, {Kind: "epoll", Count: 2, Status: "ok"}, {Kind: "file", Count: 1, Status: "ok"}}
	if !slices.Equal(objects, want) {
		t.Errorf("objects %v, want %v", objects, want)
	}
	if p := Predict(f); p.Total <= 0 || p.Total != p.Stop+p.Capture+p.Fork+p.Release {
		t.Errorf("prediction %+v", p)
	}
}

func TestDescriptorKinds(t *testing.T) {
	for kind, refused := range map[string]bool{
		"file": false, "pipe": false, "eventfd": false, "timerfd": false, "signalfd": false, "epoll": false, "inotify": false,
		"memfd": false, "unix": false, "tcp listener": false, "tcp": false, "udp": false, "netlink": false, "tty": false,
		"anon_inode:[io_uring]": true, "anon_inode:[perf_event]": true, "anon_inode:bpf-prog": true, "anon_inode:bpf_link": true,
		"anon_inode:[userfaultfd]": true, "anon_inode:[fanotify]": true, "anon_inode:[pidfd]": true, "pidfd:[77]": true,
		"anon_inode:sync_file": true, "anon_inode:kvm-vm": true, "anon_inode:seccomp notify": true, "/dmabuf:x": true, "mqueue": true,
		"/dev/kvm": true, "socket:[packet]": true, "socket:[vsock]": true, "socket:[alg]": true, "socket:[xdp]": true,
		"socket:[ktls]": true, "socket:[raw6]": true, "socket:[netlink audit]": true,
	} {
		// What is refused stays so even if a descriptor is said to be fine.
		r, got := Descriptor{Kind: kind, Known: true}.refusal()
		if got != refused || r.why == "" {
			t.Errorf("%s: refused %v (%q), want %v", kind, got, r.why, refused)
		}
		if _, got := (Descriptor{Kind: kind}).refusal(); !got {
			t.Errorf("%s: not refused, though not known", kind)
		}
	}
}

func TestGaps(t *testing.T) {
	f := sound()
	f.Children = []int{4010, 4011}
	f.Mappings = []Mapping{
		{Start: 0x1000, End: 0x2000, Flags: []string{"dc"}}, {Start: 0x2000, End: 0x3000, Flags: []string{"wf"}},
		{Start: 0x3000, End: 0x4000, Flags: []string{"wf", "dp"}}, {Path: "[vvar]", Flags: []string{"dc", "pf"}},
	}
	f.Outside = []string{"10.0.0.9:443"}
	f.Cgroup = "/system.slice/x.service"
	f.Credentials[0].NoNewPrivs = true
	f.Label = "docker-default (enforce)"
	refusals, gaps, _ := Preflight(f)
	var objects []string
	for _, g := range gaps {
		if g.Member != "m1" || g.Detail == "" {
			t.Errorf("incomplete gap %+v", g)
		}
		objects = append(objects, g.Object)
	}
	want := []string{"child process 4010", "child process 4011", "mapping 0x1000-0x2000 ", "mapping 0x2000-0x3000 ",
		"connection to 10.0.0.9:443", "thread 4001", "security label docker-default (enforce)", "cgroup /system.slice/x.service"}
	if len(refusals) != 0 || !slices.Equal(objects, want) {
		t.Errorf("gaps %q, want %q; refusals %v", objects, want, refusals)
	}
	f = sound()
	f.Cgroup = "/"
	if _, gaps, _ := Preflight(f); len(gaps) != 0 {
		t.Errorf("gaps of a sound process: %v", gaps)
	}
}

func TestPreflightStranger(t *testing.T) {
	f := ProcessFacts{Mappings: []Mapping{{End: 4096, Path: "/dev/zero", Deleted: true, Shared: true, Flags: []string{"mw"}, Stranger: 77}}}
	refusals, _, _ := Preflight(f)
	if !slices.ContainsFunc(refusals, func(r model.Refusal) bool { return r.Kind == "shared memory" && strings.Contains(r.Why, "pid 77") }) {
		t.Errorf("memory shared with a stranger is not refused: %v", refusals)
	}
}
