package procfs

import "strings"

// A Membership is one control group that a process is in, cgroups(7).
type Membership struct {
	// Controllers are those of a version 1 hierarchy; "name=NAME" stands for one
	// without. Of version 2 there is one hierarchy, and none here.
	Controllers []string
	Path        string // from the root of the reader's cgroup namespace
}

// Memberships reads /proc/PID/cgroup.
func Memberships(pid int) ([]Membership, error) { return parsed(path(pid, "cgroup"), ParseMemberships) }

// ParseMemberships parses the content of /proc/PID/cgroup.
//
//	4:cpu,cpuacct:/system.slice/etcd.service
//	0::/system.slice/etcd.service
func ParseMemberships(text []byte) (out []Membership, err error) {
	for row := range lines(text) {
		l := line{rest: row}
		l.number(l.upTo(':'), 10, 31)
		names := string(l.upTo(':'))
		m := Membership{Path: string(l.rest)}
		if names != "" {
			m.Controllers = strings.Split(names, ",")
		}
		l.expect(strings.HasPrefix(m.Path, "/"))
		if l.bad {
			return nil, malformed("cgroup", row)
		}
		out = append(out, m)
	}
	return out, nil
}
