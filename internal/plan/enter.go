package plan

import (
	"fmt"
	"slices"
)

// entered are the kinds of namespaces that an agent can join: all threads of a
// process may have others than it was started with, after an execve.
var entered = []string{"mnt", "net", "ipc", "uts"}

// Enter reports whether the agent must join the namespaces of the members to
// fork them, and can: they share one set, which differs from the agent's in the
// file system or the network, but not in users and process numbers. Namespaces
// are given by the numbers that identify them, by kind.
func Enter(ours map[string]uint64, members []map[string]uint64) bool {
	if len(members) == 0 {
		return false
	}
	first := members[0]
	for _, m := range members {
		for _, kind := range entered {
			if m[kind] != first[kind] {
				return false
			}
		}
		if m["user"] != ours["user"] || m["pid"] != ours["pid"] {
			return false
		}
	}
	return first["mnt"] != ours["mnt"] || first["net"] != ours["net"]
}

// refuseForeign refuses members in namespaces that the agent has not joined.
func (f ProcessFacts) refuseForeign(refuse refuseFunc) {
	const inside = "run pilot inside the same container"
	container := false
	if slices.Contains(f.Foreign, "pid") {
		container = true
		refuse("namespace", "pid", fmt.Sprintf("is in another pid namespace than pilot, as number %d: a world cannot give it this number", f.Number), inside)
	}
	if slices.Contains(f.Foreign, "user") {
		container = true
		refuse("namespace", "user", "is in another user namespace than pilot: only a process of that can make a world that it may enter", inside)
	}
	if container {
		return // it has mounts and a network of its own as well
	}
	for _, ns := range f.Foreign {
		refuse("namespace", ns, "is in another "+ns+" namespace than pilot or than other members",
			"pilot members of one service at a time, which have the same mounts and network")
	}
}
