package procfs

import (
	"reflect"
	"testing"
	"time"
)

func TestParsePressure(t *testing.T) {
	got := parse(t, "host/pressure-io", ParsePressure)
	want := Pressure{
		Some: Stall{11.10, 12.66, 7.45, 206375349 * time.Microsecond},
		Full: Stall{0, 0.22, 0.39, 39838964 * time.Microsecond},
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	// Linux before 5.13 has no line for full of the processor.
	old, err := ParsePressure([]byte("some avg10=1.05 avg60=100.00 avg300=0.00 total=7\n"))
	if err != nil || old.Some != (Stall{1.05, 100, 0, 7 * time.Microsecond}) || old.Full != (Stall{}) {
		t.Errorf("got %+v, %v", old, err)
	}
	refuses(t, ParsePressure, "most avg10=0.00 total=1", "some avg10=1 total=1", "some avg10=0.00 total=x", "some total", "some avg10=0.001")
}

func TestParseMemory(t *testing.T) {
	got := parse(t, "host/meminfo", ParseMemory)
	if got.Total != 24684084<<10 || got.Available <= 0 || got.Available > got.Total || got.Free <= 0 || got.Shmem <= 0 {
		t.Errorf("got %+v", got)
	}
	refuses(t, ParseMemory, "MemTotal: 12", "MemTotal: x kB", "MemAvailable", "MemFree: -1 kB")
}

func TestParseMemberships(t *testing.T) {
	got := parse(t, "host/cgroup", ParseMemberships)
	if len(got) != 10 {
		t.Fatalf("got %d groups: %+v", len(got), got)
	}
	for i, want := range map[int]Membership{
		0: {[]string{"name=systemd"}, "/"},
		5: {[]string{"memory"}, "/workload"},
		9: {nil, "/"},
	} {
		if !reflect.DeepEqual(got[i], want) {
			t.Errorf("line %d: got %+v, want %+v", i+1, got[i], want)
		}
	}
	both, err := ParseMemberships([]byte("4:cpu,cpuacct:/system.slice/a:b.service\n"))
	if want := (Membership{[]string{"cpu", "cpuacct"}, "/system.slice/a:b.service"}); err != nil || !reflect.DeepEqual(both, []Membership{want}) {
		t.Errorf("got %+v, %v", both, err)
	}
	refuses(t, ParseMemberships, "x::/", "0:/", "0::", "1:cpu:relative")
}

func FuzzPressure(f *testing.F)    { fuzz(f, ParsePressure, "host/pressure-*") }
func FuzzMemory(f *testing.F)      { fuzz(f, ParseMemory, "host/meminfo") }
func FuzzMemberships(f *testing.F) { fuzz(f, ParseMemberships, "host/cgroup") }
