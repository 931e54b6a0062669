package plan

import (
	"maps"
	"testing"
)

func TestEnter(t *testing.T) {
	host := map[string]uint64{"mnt": 1, "net": 2, "ipc": 3, "uts": 4, "user": 5, "pid": 6}
	but := func(kinds ...string) map[string]uint64 {
		m := maps.Clone(host)
		for _, k := range kinds {
			m[k] += 100
		}
		return m
	}
	for _, c := range []struct {
		name    string
		members []map[string]uint64
		want    bool
	}{
		{"nobody", nil, false},
		{"at home", []map[string]uint64{host, host}, false},
		{"private mounts", []map[string]uint64{but("mnt")}, true},
		{"private network", []map[string]uint64{but("net"), but("net")}, true},
		{"all but users and processes", []map[string]uint64{but("mnt", "net", "ipc", "uts")}, true},
		{"another name of the host", []map[string]uint64{but("uts", "ipc")}, false},
		{"one at home", []map[string]uint64{but("mnt"), host}, false},
		{"not together", []map[string]uint64{but("mnt", "uts"), but("mnt")}, false},
		{"a container", []map[string]uint64{but("mnt", "net", "pid")}, true},
		{"a container of a user", []map[string]uint64{but("mnt", "net", "user", "pid")}, true},
		{"users only", []map[string]uint64{but("user")}, false},
		{"one in a container", []map[string]uint64{but("mnt"), but("mnt", "pid")}, false},
	} {
		if got := Enter(host, c.members); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
