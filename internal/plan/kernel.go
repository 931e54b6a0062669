package plan

import (
	"strconv"
	"strings"
)

// MinimumKernel is the first release that has all the calls pilot uses; the
// last to come was PTRACE_GET_RSEQ_CONFIGURATION (5.13), and overlays in user
// namespaces (5.11).
const MinimumKernel = "5.14"

// KernelSupported reports whether a release, such as "6.1.0-18-amd64", is new enough.
func KernelSupported(release string) bool {
	major, rest, _ := strings.Cut(release, ".")
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end >= 0 {
		rest = rest[:end]
	}
	x, err1 := strconv.Atoi(major)
	y, err2 := strconv.Atoi(rest)
	return err1 == nil && err2 == nil && (x > 5 || x == 5 && y >= 14)
}
