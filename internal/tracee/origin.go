//go:build linux

package tracee

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
)

// The arena is the only memory that pilot has in an origin. Its address spells
// PILO, so that a restarted agent can recognise a leftover.
const (
	ArenaHint  Addr = 0x50494c4f0000
	arenaStep       = 16 << 20
	arenaTries      = 8
	ArenaSize       = 1 << 20

	// Slots of the arena. The first three are the fallbacks: frames that lead
	// a thread which lost its tracer to its end.
	slotExit   = 0 * frameSize // the helper: exit
	slotReap   = 1 * frameSize // the helper: wait4 for each of its clones, then exit
	slotSeed   = 2 * frameSize // the seed: exit_group
	slotThread = 3 * frameSize // the frame of a production thread under injection
	slotData   = 4 * frameSize // results of injected calls, 48 KiB

	// The helper reaps at most that many clones: the seed, and those that make
	// worlds in a container. A frame without processor state is small.
	reaps     = 15
	reapFrame = 1 << 10
)

// helperOptions are set on the helper. Never EXITKILL: it would kill production.
const helperOptions = sys.OptSysGood | sys.OptClone | sys.OptFork | sys.OptVfork

// prepareTimeout bounds each wait for a single thread before the pause, while
// the rest of the process runs. Such a thread has no processor, or is in
// uninterruptible sleep: it is not pilot that holds it.
const prepareTimeout = 5 * time.Second

// A Thread is the captured state of one stopped production thread.
type Thread struct {
	TID     int
	Regs    sys.Regs
	XState  []byte
	Sigmask uint64
	Rseq    sys.Rseq
	Robust  uint64 // head of the robust futex list
	Pending []sys.SigInfo
	Probe   ThreadProbe
}

// An Origin is a production process under pilot's hand.
type Origin struct {
	PID     int
	mem     *os.File
	gadgets Gadgets
	arena   Addr
	// inherited is set when the arena is that of an agent which died.
	inherited bool
	filtered  bool // it has seccomp filters
	armed     bool // the helper is at the gate of the clone
	helper    int  // tid, 0 when there is none
	base      sys.Regs
	xstate    int // bytes of the extended state, the same for every thread
	probes    map[int]ThreadProbe

	// stopped lists the threads that hold a stop, or are asked for one.
	stopped []int
	met     map[int]bool // those in stopped, and those that have ended since
	until   time.Time    // bounds injected calls in the pause; zero outside of it
	late    []int        // threads that Release could not let go
	// stranded lists threads that were seized and did not stop in time.
	stranded []int
	wards    *wards
	// Halted is set when job control had stopped the process before the pause, as
	// SIGSTOP does. It stays so: the kernel stops it again when it is let go.
	Halted bool
	// Shared are the signals pending for the process as a whole.
	Shared []sys.SigInfo

	stackFrame Addr // where the lead thread's frame goes before there is an arena

	// astray is set while a thread may be on its way back through the arena, or
	// through the frame on the stack: neither may be touched then.
	astray  bool
	gone    bool // the process has ended, and its number may be another's
	forking bool // the clone was begun, and its end was not seen
	cloned  bool // likewise, or it has ended
	unborn  int  // pid of a clone that was not handed over as the seed
}

// Open reads what is needed to touch process pid. It changes nothing.
func Open(pid int) (*Origin, error) {
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open memory of pid %d: %w", pid, err)
	}
	o := &Origin{PID: pid, mem: mem, probes: map[int]ThreadProbe{}}
	if err := o.survey(); err != nil {
		_ = mem.Close()
		return nil, fmt.Errorf("pid %d: %w", pid, err)
	}
	o.wards = watch(pid)
	return o, nil
}

func (o *Origin) survey() error {
	vmas, err := procfs.Maps(o.PID)
	if err != nil {
		return err
	}
	if len(vmas) == 0 {
		return ErrGone // it is about to end
	}
	if o.gadgets, err = findGadgets(o.mem, vmas); err != nil {
		return err
	}
	o.arena = 0
	for _, hint := range places() {
		if o.inherited = ours(vmas, hint); o.inherited || free(vmas, hint, ArenaSize) {
			o.arena = hint
			break
		}
	}
	if o.arena == 0 {
		return errors.New("no room for the arena")
	}
	for _, v := range vmas {
		if v.Path == "[stack]" {
			o.stackFrame = Addr(v.Start) + 8192
		}
	}
	if o.stackFrame == 0 {
		return errors.New("no [stack] mapping to begin from")
	}
	return nil
}

// Close forgets the origin. It must have been released.
func (o *Origin) Close() error {
	o.stranded = slices.DeleteFunc(o.stranded, detachStopped)
	o.wards.close()
	return o.mem.Close()
}

// Read fills buf from the origin's memory at addr.
func (o *Origin) Read(addr Addr, buf []byte) error { return readMem(o.mem, addr, buf) }

// Arena returns where pilot's memory lies in the origin, and in every clone of it.
func (o *Origin) Arena() Addr { return o.arena }

// Gadgets returns the addresses of the instructions used for injected calls.
func (o *Origin) Gadgets() Gadgets { return o.gadgets }

// Ended reports whether the process is gone, or a zombie.
func (o *Origin) Ended() bool {
	if o.gone {
		return true
	}
	status, err := procfs.ReadStatus(o.PID)
	return err != nil || strings.HasPrefix(status.State, "Z") || strings.HasPrefix(status.State, "X")
}
