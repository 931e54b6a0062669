package plan

import (
	"fmt"
	"slices"
	"strings"
)

// A Mapping is one memory mapping of interest: those that are not plain
// private memory.
type Mapping struct {
	Start, End uint64
	Path       string
	Deleted    bool // the file has no name any more
	Shared     bool
	Flags      []string // VmFlags of proc_pid_smaps(5)
	// Stranger is a process that maps the same memory and is not a member, 0
	// when there is none.
	Stranger int
}

func (m Mapping) has(flag string) bool { return slices.Contains(m.Flags, flag) }

func (m Mapping) String() string { return fmt.Sprintf("mapping %#x-%#x %s", m.Start, m.End, m.Path) }

// device reports whether m shows a device, or memory that only looks so: the
// kernel's own pages, such as [vvar].
func (m Mapping) device() bool { return m.has("io") || m.has("pf") }

// left reports whether fork(2) leaves m out or empties it, so that its bytes
// must be copied: madvise(2), MADV_DONTFORK and MADV_WIPEONFORK. A mapping that
// the kernel may drop at any time (MAP_DROPPABLE, mmap(2)) may as well be empty.
func (m Mapping) left() bool {
	return m.has("dc") && !m.device() || m.has("wf") && !m.has("dp")
}

// copied reports whether the bytes of m must be copied in the pause.
func (m Mapping) copied(data []string) bool {
	if m.left() {
		return true
	}
	inData := slices.ContainsFunc(data, func(d string) bool { return within(m.Path, d) })
	return m.Shared && m.has("mw") && (m.Deleted || !inData)
}

// refusal tells why a world cannot have m, if it cannot.
func (m Mapping) refusal() (r reason, refused bool) {
	switch {
	case m.has("um"), m.has("uw"), m.has("ui"):
		r = reason{"userfaultfd", "page faults are served by a program", "switch user-space paging off"}
	case m.has("ss"):
		r = reason{"shadow stack", "returns cannot be redirected", shadowHint}
	case strings.HasPrefix(m.Path, "/SYSV"):
		r = reason{"SysV shared memory", "cannot be made anew in a world", "configure the member to use other shared memory"}
	case strings.HasPrefix(m.Path, "/[aio]"):
		r = reason{"aio", "asynchronous I/O may be under way", "switch native AIO off in the member's configuration"}
	case strings.HasPrefix(m.Path, "anon_inode:"), strings.HasPrefix(m.Path, "/dmabuf:"):
		r, _ = reasonFor(m.Path)
		r.kind = m.Path
	case m.Stranger != 0:
		r = reason{"shared memory", fmt.Sprintf("pid %d, which is not a member, has it too", m.Stranger), "make that process a member"}
	case m.device() && !strings.HasPrefix(m.Path, "["):
		r = reason{"device memory", "belongs to a device", ""}
	default:
		return r, false
	}
	return r, true
}

// maxCopied bounds the memory that is copied in the pause.
const maxCopied = 64 << 20

func (f ProcessFacts) refuseMappings(refuse refuseFunc) {
	bytes := uint64(0)
	for _, m := range f.Mappings {
		if r, refused := m.refusal(); refused {
			refuse(m.String(), r.kind, r.why, r.hint)
		} else if m.copied(f.Member.Data) {
			bytes += m.End - m.Start
		}
	}
	if bytes > maxCopied {
		refuse("memory", "shared memory",
			fmt.Sprintf("%d MiB would have to be copied while production stands (limit %d)", bytes>>20, maxCopied>>20),
			"give the directory of the mapped files as data")
	}
}
