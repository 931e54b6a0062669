package plan

// entered are the kinds of namespaces that an agent can join: all threads of a
// process may have others than it was started with, after an execve.
var entered = []string{"mnt", "net", "ipc", "uts"}

// Enter reports whether the agent must join the namespaces of the members to
// fork them, and can: they share one set, which differs from the agent's in the
// file system or the network. Namespaces are given by the numbers that identify
// them, by kind.
//
// The agent keeps its own users and process numbers: it sees those of a container
// as well.
func Enter(ours map[string]uint64, members []map[string]uint64) bool {
	if len(members) == 0 {
		return false
	}
	first := members[0]
	for _, m := range members {
		for _, kind := range append([]string{"user", "pid"}, entered...) {
			if m[kind] != first[kind] {
				return false
			}
		}
	}
	return first["mnt"] != ours["mnt"] || first["net"] != ours["net"]
}

// refuseForeign refuses members in namespaces that the agent has not joined, and
// containers that no world can be made in.
func (f ProcessFacts) refuseForeign(refuse refuseFunc) {
	for _, ns := range f.Foreign {
		refuse("namespace", ns, "is in another "+ns+" namespace than pilot or than other members",
			"pilot members of one service or container at a time, which have the same mounts and network")
	}
	if f.Rootless {
		refuse("namespace", "user", "is in a user namespace without a root: nobody there can make a world",
			"map user and group 0 of the container, as unshare --map-root-user does")
	}
}
