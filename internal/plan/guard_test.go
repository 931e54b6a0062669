package plan

import (
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

var guarded = model.Limits{MaxMemory: gib, MaxDisk: gib, MaxMemoryPressure: 10, MaxIOPressure: 80}

func calm(at time.Duration) Reading {
	return Reading{At: at, Pressure: true, Room: Room{Memory: 8 * gib, MemoryTotal: 16 * gib, Disk: 20 * gib, DiskTotal: 100 * gib}}
}

// play gives a guard readings every 250 ms for 30 s, and returns when it decided
// what.
func play(g *Guard, read func(at time.Duration) Reading) (time.Duration, string) {
	for at := time.Duration(0); at <= 30*time.Second; at += 250 * time.Millisecond {
		if why := g.Judge(read(at)); why != "" {
			return at, why
		}
	}
	return 0, ""
}

func TestGuard(t *testing.T) {
	// since returns a share of the time after start, in per cent.
	since := func(at, start time.Duration, percent time.Duration) time.Duration {
		return max(0, at-start) * percent / 100
	}
	for _, c := range []struct {
		name  string
		read  func(at time.Duration) Reading
		early time.Duration // not before
		late  time.Duration // and not later; 0 for never
		want  string
	}{
		{"calm", calm, 0, 0, ""},
		{"memory stalls", func(at time.Duration) Reading {
			r := calm(at)
			r.MemoryStall = since(at, 5*time.Second, 50)
			return r
		}, 5 * time.Second, 6 * time.Second, "memory pressure, all tasks of the host waited for memory in 1"},
		{"memory stalls a little", func(at time.Duration) Reading {
			r := calm(at)
			r.MemoryStall = since(at, 0, 9)
			return r
		}, 0, 0, ""},
		{"one short stall", func(at time.Duration) Reading {
			r := calm(at)
			if at > 8*time.Second {
				r.MemoryStall = 150 * time.Millisecond
			}
			return r
		}, 0, 0, ""},
		{"disks stall", func(at time.Duration) Reading {
			r := calm(at)
			r.IOStall = since(at, 12*time.Second, 95)
			return r
		}, 18 * time.Second, 21 * time.Second, "I/O pressure, all tasks of the host waited for disks in 8"},
		{"disks stall now and then", func(at time.Duration) Reading {
			r := calm(at)
			r.IOStall = at.Truncate(4*time.Second) / 2
			return r
		}, 0, 0, ""},
		{"memory is short", func(at time.Duration) Reading {
			r := calm(at)
			if r.Pressure = false; at >= time.Second {
				r.Memory = 512*mebibyte - 1
			}
			return r
		}, time.Second, time.Second, "512 MiB are available on the host (limit 512 MiB)"},
		{"a small host is not short of memory", func(at time.Duration) Reading {
			r := calm(at)
			r.MemoryTotal, r.Memory = gib, 52*mebibyte
			return r
		}, 0, 0, ""},
		{"the disk is nearly full", func(at time.Duration) Reading {
			r := calm(at)
			r.Disk = 200 * mebibyte
			return r
		}, 0, time.Nanosecond, "200 MiB are free where worlds are kept (limit 256 MiB)"},
		{"no accounting", func(at time.Duration) Reading {
			r := calm(at)
			r.Pressure, r.MemoryStall, r.IOStall = false, at, at
			return r
		}, 0, 0, ""},
	} {
		at, why := play(&Guard{Limits: guarded, Worlds: true}, c.read)
		if c.want == "" {
			if why != "" {
				t.Errorf("%s: ended at %v: %s", c.name, at, why)
			}
			continue
		}
		if !strings.HasPrefix(why, "ended to protect production: ") || !strings.Contains(why, c.want) || at < c.early || at > c.late {
			t.Errorf("%s: at %v %q, want %q between %v and %v", c.name, at, why, c.want, c.early, c.late)
		}
	}
}

// TestGuardBeforeWorlds: while pilot copies, it is itself what waits for disks.
func TestGuardBeforeWorlds(t *testing.T) {
	busy := func(at time.Duration) Reading {
		r := calm(at)
		r.IOStall = at
		return r
	}
	g := &Guard{Limits: guarded}
	if at, why := play(g, busy); why != "" {
		t.Errorf("ended at %v: %s", at, why)
	}
	g.Worlds = true
	if why := g.Judge(busy(31 * time.Second)); why != "" {
		t.Errorf("what was before counts: %s", why)
	}
	if why := func() (why string) {
		for at := 31 * time.Second; at < 43*time.Second && why == ""; at += time.Second {
			why = g.Judge(busy(at))
		}
		return why
	}(); why == "" {
		t.Error("what came later does not count")
	}
	// Want of memory counts at any time.
	g = &Guard{Limits: guarded}
	if _, why := play(g, func(at time.Duration) Reading { r := calm(at); r.MemoryStall = at; return r }); why == "" {
		t.Error("memory pressure does not count before there are worlds")
	}
	off := &Guard{Limits: model.Limits{MaxMemoryPressure: 100, MaxIOPressure: 100}, Worlds: true}
	if at, why := play(off, func(at time.Duration) Reading { r := busy(at); r.MemoryStall = at; return r }); why != "" {
		t.Errorf("switched off, and ended at %v: %s", at, why)
	}
}

func TestExceeded(t *testing.T) {
	for _, c := range []struct {
		use  WorldUse
		want string
	}{
		{WorldUse{Written: gib - 1, Scratch: []Scratch{{"/tmp", 9, 10}, {"/x", 0, 0}}}, ""},
		{WorldUse{Kills: 1, Memory: gib - mebibyte}, "more memory than 1024 MiB (--max-memory), and the kernel killed a process"},
		{WorldUse{Kills: 3, Memory: gib}, "killed 3 processes"},
		{WorldUse{Kills: 1, Memory: gib / 2}, "killed a process in it for want of memory on the host; it had taken 512 MiB of 1024 MiB"},
		{WorldUse{Written: gib}, "it wrote 1024 MiB, and may write 1024 MiB (--max-disk)"},
		{WorldUse{Scratch: []Scratch{{"/dev/shm", 64 * mebibyte, 64 * mebibyte}}}, "it filled /dev/shm with 64 MiB"},
	} {
		got := Exceeded(c.use, guarded)
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%+v: got %q, want %q", c.use, got, c.want)
		}
	}
	if got := ScratchSize(model.Limits{MaxMemory: gib, MaxDisk: 4 * gib}); got != gib/2 {
		t.Errorf("scratch of %s", Size(got))
	}
}
