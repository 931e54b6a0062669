package plan

import (
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
)

const gib = 1 << 30

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		ask  model.Limits
		room Room
		want model.Limits
	}{
		{model.Limits{}, Room{Memory: 8 * gib, Disk: 4 * gib}, model.Limits{MaxMemory: 2 * gib, MaxDisk: gib, MaxMemoryPressure: 10, MaxIOPressure: 90}},
		{model.Limits{}, Room{Memory: 8 * gib, Disk: 400 * gib}, model.Limits{MaxMemory: 2 * gib, MaxDisk: 4 * gib, MaxMemoryPressure: 10, MaxIOPressure: 90}},
		{model.Limits{}, Room{}, model.Limits{MaxMemory: mebibyte, MaxDisk: mebibyte, MaxMemoryPressure: 10, MaxIOPressure: 90}},
		{model.Limits{MaxMemory: 7, MaxDisk: 8, MaxIOPressure: 9}, Room{Memory: gib, Disk: gib}, model.Limits{MaxMemory: 7, MaxDisk: 8, MaxMemoryPressure: 10, MaxIOPressure: 9}},
	} {
		if got := Limits(c.ask, c.room, 2); got != c.want {
			t.Errorf("%+v in %+v: got %+v, want %+v", c.ask, c.room, got, c.want)
		}
	}
}

func TestLimitsOfManyWorlds(t *testing.T) {
	room := Room{Memory: 8 * gib, MemoryTotal: 8 * gib, Disk: 8 * gib, DiskTotal: 8 * gib}
	got := Limits(model.Limits{}, room, 8)
	if got.MaxMemory != gib/2 || got.MaxDisk != gib/2 {
		t.Errorf("eight worlds share half of the room: got %+v", got)
	}
	got.MaxMemory = 2 * gib
	refusals := RefuseRoom([]ProcessFacts{{Written: 4 * gib, Headroom: 64 * gib}}, got, room, 8, 1)
	if len(refusals) != 1 || !strings.Contains(refusals[0].Why, "8 worlds may need 9754 MiB") || !strings.Contains(refusals[0].Hint, "fewer actions") {
		t.Errorf("eight worlds of a GiB each do not fit into 8 GiB: %+v", refusals)
	}
}

// TestLongSnapshots: the longer a snapshot lives, the more pages production copies,
// but none twice.
func TestLongSnapshots(t *testing.T) {
	room := Room{Memory: 64 * gib, MemoryTotal: 64 * gib, Disk: 64 * gib, DiskTotal: 64 * gib}
	for rounds, own := range map[int]int64{1: gib, 2: 2 * gib, 4: 4 * gib, 100: 4 * gib} {
		for _, headroom := range []int64{own, own - 1} {
			f := ProcessFacts{Written: 4 * gib, Headroom: headroom}
			got := RefuseRoom([]ProcessFacts{f}, model.Limits{MaxMemory: 8 * gib, MaxDisk: gib}, room, 2, rounds)
			if refused := len(got) > 0; refused != (headroom < own) {
				t.Errorf("%d rounds and room for %s: %v", rounds, Size(headroom), got)
			}
		}
	}
}

func TestWorldMemory(t *testing.T) {
	f := sound()
	f.Written = 400 * mebibyte
	f.Mappings = []Mapping{{End: 10 * mebibyte, Path: "/x/y", Shared: true, Flags: []string{"mw"}}, {End: 99 * mebibyte, Path: "/x/y", Shared: true}}
	if got, want := WorldMemory([]ProcessFacts{f, {}}), int64(worldOverhead+(100+10)*mebibyte); got != want {
		t.Errorf("got %s, want %s", Size(got), Size(want))
	}
}

func TestRefuseRoom(t *testing.T) {
	f := sound()
	f.Written, f.Headroom = 4*gib, 64*gib
	ample := Room{Memory: 16 * gib, MemoryTotal: 32 * gib, Disk: 40 * gib, DiskTotal: 80 * gib}
	limits := model.Limits{MaxMemory: 4 * gib, MaxDisk: 4 * gib}
	for _, c := range []struct {
		name   string
		change func(*ProcessFacts, *model.Limits, *Room)
		want   []string // parts of the one refusal, with its numbers; none
	}{
		{"ample", func(*ProcessFacts, *model.Limits, *Room) {}, nil},
		{"just enough memory", func(_ *ProcessFacts, _ *model.Limits, r *Room) {
			r.Memory = 2*(gib+worldOverhead) + gib + 512*mebibyte
		}, nil},
		{"little memory", func(_ *ProcessFacts, _ *model.Limits, r *Room) {
			r.Memory = 2*(gib+worldOverhead) + gib + 512*mebibyte - 1
		}, []string{"3616 MiB are available", "may need 3616 MiB", "1040 MiB each", "1024 MiB for production", "512 MiB stay free"}},
		{"small limit", func(_ *ProcessFacts, l *model.Limits, _ *Room) { l.MaxMemory = 100 * mebibyte },
			[]string{"may take 100 MiB, and may need 1040 MiB"}},
		{"little disk", func(_ *ProcessFacts, _ *model.Limits, r *Room) { r.Disk = 8 * gib },
			[]string{"8192 MiB are free", "may need 8448 MiB", "4096 MiB each", "256 MiB stay free"}},
		{"narrow group", func(f *ProcessFacts, _ *model.Limits, _ *Room) { f.Headroom, f.Narrow = gib-1, "/system.slice/etcd" },
			[]string{"m1 (pid 4000): cgroup /system.slice/etcd memory limit", "leaves it 1024 MiB", "1024 MiB more"}},
	} {
		f, l, r := f, limits, ample
		c.change(&f, &l, &r)
		got := RefuseRoom([]ProcessFacts{f}, l, r, 2, 1)
		if len(c.want) == 0 && len(got) == 0 {
			continue
		}
		if len(got) != 1 || len(c.want) == 0 || got[0].Hint == "" {
			t.Errorf("%s: got %v, want %q", c.name, got, c.want)
			continue
		}
		for _, part := range c.want {
			if !strings.Contains(got[0].String(), part) {
				t.Errorf("%s: %q does not say %q", c.name, got[0], part)
			}
		}
	}
}

func TestCgroupGap(t *testing.T) {
	f := sound()
	f.Cgroup = "/system.slice/etcd.service"
	if _, gaps, _ := Preflight(f); len(gaps) != 1 || !strings.Contains(gaps[0].Detail, "count towards its limits") {
		t.Errorf("got %+v", gaps)
	}
	f.Cgroup = "/"
	if _, gaps, _ := Preflight(f); len(gaps) != 0 {
		t.Errorf("the root has no limits, but %+v", gaps)
	}
}
