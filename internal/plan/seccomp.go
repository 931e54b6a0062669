package plan

import (
	"fmt"
	"strings"
)

// Filtering is what seccomp filters of a process mean for pilot.
type Filtering struct {
	// Denied are the calls that production itself would have to make for
	// pilot, and what becomes of each.
	Denied []string
	// Unlike is a thread with other filters than the first one, 0 for none.
	Unlike int
	// Supervised is set when a filter hands calls to another process.
	Supervised bool
	// Err says why the filters could not be read, or is empty.
	Err string
}

// refuseSeccomp wants production to be able to make the few calls that pilot
// has it make, whatever becomes of pilot meanwhile.
func (f ProcessFacts) refuseSeccomp(refuse refuseFunc) {
	if f.Seccomp == 1 {
		refuse("process", "strict seccomp", "may make no system call but read, write and exit", "")
		return
	}
	const kind = "seccomp filter"
	if f.Filtering.Err != "" {
		refuse("process", kind, "cannot be read: "+f.Filtering.Err, "run pilot without a seccomp filter of its own, and with CAP_SYS_ADMIN")
	}
	if len(f.Filtering.Denied) > 0 {
		refuse("process", kind, "stands against calls that the process makes when it is forked: "+strings.Join(f.Filtering.Denied, ", "),
			"allow these calls in the filter, as the default list of container engines does")
	}
	if f.Filtering.Unlike != 0 {
		refuse(fmt.Sprintf("thread %d", f.Filtering.Unlike), kind, "is another than that of the first thread", "")
	}
	if f.Filtering.Supervised {
		refuse("process", kind, "lets another process answer calls, which would answer those of a world, too", "")
	}
}
