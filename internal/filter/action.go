package filter

import "fmt"

// An Action is what a filter answers: the upper half says what happens, the
// lower half is its data. See seccomp(2).
type Action uint32

// The actions, strictest first.
const (
	KillProcess Action = 0x80000000
	KillThread  Action = 0
	Trap        Action = 0x00030000
	Errno       Action = 0x00050000
	Notify      Action = 0x7fc00000
	Trace       Action = 0x7ff00000
	Log         Action = 0x7ffc0000
	Allow       Action = 0x7fff0000

	actionMask Action = 0xffff0000
)

// Permits reports whether the call is made as if there were no filter.
func (a Action) Permits() bool { return a&actionMask == Allow || a&actionMask == Log }

// String says what happens to the call.
func (a Action) String() string {
	switch a & actionMask {
	case KillProcess:
		return "kills the process"
	case KillThread:
		return "kills the thread"
	case Trap:
		return "sends SIGSYS"
	case Errno:
		return fmt.Sprintf("answers with errno %d", uint32(a&^actionMask))
	case Notify:
		return "asks a supervisor"
	case Trace:
		return "asks a tracer"
	case Log:
		return "logs"
	case Allow:
		return "allows"
	default:
		return "kills the process" // what the kernel does with an unknown action
	}
}
