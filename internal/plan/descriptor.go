package plan

import (
	"fmt"
	"strings"
)

// A Descriptor is one open descriptor as preflight sees it.
type Descriptor struct {
	FD int
	// Kind is the name of a kind of object that a world can have, or what the
	// kernel calls the object: "anon_inode:[io_uring]", "socket:[packet]".
	Kind string
	// Known tells whether a world can have it.
	Known bool
	Link  string
}

// A reason says why a kind of object cannot be in a world.
type reason struct {
	kind string // or the beginning of one, with a "*" behind
	why  string
	hint string
}

// reasons are the kinds that are known and refused. They are refused even where
// a descriptor is said to be fine. Any other kind that is not known is refused
// as well, with less to say.
var reasons = []reason{
	{"anon_inode:[io_uring]", "requests may be under way in memory shared with the kernel", "start the member with io_uring switched off"},
	{"anon_inode:[perf_event]", "counts events of this very process", "stop the profiler"},
	{"anon_inode:bpf*", "runs in the kernel for all processes", "detach the tracing program"},
	{"anon_inode:[bpf*", "runs in the kernel for all processes", "detach the tracing program"},
	{"anon_inode:[userfaultfd]", "page faults are served by a program", "switch user-space paging off"},
	{"anon_inode:[fanotify]", "watches files for the whole host", "stop the file watcher"},
	{"anon_inode:[pidfd]", "refers to a process, which the world may not have", "close it before the run"},
	{"pidfd:*", "refers to a process, which the world may not have", "close it before the run"},
	{"anon_inode:sync_file", "waits for a device", ""},
	{"anon_inode:[kvm*", "a virtual machine cannot be copied", ""},
	{"anon_inode:kvm*", "a virtual machine cannot be copied", ""},
	{"anon_inode:seccomp notify", "supervises another process", ""},
	{"/dmabuf:*", "memory is shared with a device", ""},
	{"mqueue", "message queues are shared with the whole host", "close the queue before the run"},
	{"/dev/*", "a device has state outside of the process", "close the device before the run"},
	{"socket:[packet]", "sees the traffic of the whole host", "stop the packet capture"},
	{"socket:[vsock]", "leads out of the virtual machine", ""},
	{"socket:[alg]", "holds keys in the kernel that cannot be read", "switch kernel cryptography off"},
	{"socket:[xdp]", "shares memory with a network device", ""},
	{"socket:[ktls]", "the kernel holds the connection's keys", "switch kernel TLS off"},
	{"socket:[raw*", "raw packets cannot be kept inside a world", ""},
	{"socket:[netlink*", "only routing sockets are answered inside a world", ""},
}

func reasonFor(kind string) (reason, bool) {
	for _, r := range reasons {
		prefix, open := strings.CutSuffix(r.kind, "*")
		if kind == r.kind || open && strings.HasPrefix(kind, prefix) {
			return r, true
		}
	}
	return reason{why: "cannot be made anew in a world"}, false
}

// refusal tells why d is refused, if it is.
func (d Descriptor) refusal() (r reason, refused bool) {
	r, refused = reasonFor(d.Kind)
	return r, refused || !d.Known
}

func (f ProcessFacts) refuseDescriptors(refuse refuseFunc) {
	for _, d := range f.Descriptors {
		if r, refused := d.refusal(); refused {
			refuse(fmt.Sprintf("fd %d", d.FD), d.Kind, r.why, r.hint)
		}
	}
}
