package plan

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
