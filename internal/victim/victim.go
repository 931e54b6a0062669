//go:build linux

// Package victim holds small programs for tests to fork, one for each kind of
// kernel object or behaviour. Each makes its objects and then exercises them
// for ever, every few milliseconds, against a model of them that it keeps in
// its memory. A fork cuts memory and objects at one instant, so that a victim
// notices by itself when they do not agree any more: when bytes are lost or
// come twice, or when two processes share what they should have of their own.
//
// A victim writes a line for each round to the file [Log] in its directory:
// "ok N note" or "bad N: why".
package victim

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Name is how a test binary is executed again to become a victim.
const Name = "pilot-victim"

// Log is the file that a victim reports to.
const Log = "log"

// period is the pause between two rounds.
const period = 5 * time.Millisecond

// firstFD is the first descriptor that the test passes to a victim.
const firstFD = 3

// A step is one round. It returns a note for the log.
type step func() (note string, err error)

// kinds are the victims. Each makes its objects, in dir when they have a path.
var kinds = map[string]func(dir string) (step, error){
	"private":  privateMemory,
	"dontfork": dontFork,
	"shmfile":  sharedFile,
	"shmanon":  sharedAnonymous,
	"memfd":    memoryFile,
	"shm-a":    passedMemory(0),
	"shm-b":    passedMemory(1),

	"file":    regularFile,
	"deleted": deletedFile,
	"dirfd":   directory,
	"locks":   locks,
	"devices": devices,
	"proc":    procFile,
	"tty":     terminal,

	"pipe":        pipe,
	"pipe-writer": pipeWriter,
	"pipe-reader": pipeReader,
	"fifo":        fifo,

	"eventfd":  eventfd,
	"timerfd":  timerfd,
	"signalfd": signalfd,
	"epoll":    epoll,
	"inotify":  inotify,

	"unixpair":    unixPairs,
	"unix-a":      unixMember(0),
	"unix-b":      unixMember(1),
	"unixlisten":  unixListener,
	"unixqueue":   unixQueue,
	"unix-server": unixServer,
	"unix-client": unixClient,

	"tcp-server":   tcpServer,
	"tcp-client":   tcpClient,
	"tcp-port":     tcpPort,
	"mptcp-server": mptcpServer,
	"mptcp-client": mptcpClient,
	"mptcp-full":   mptcpFull,
	"unaccepted":   unaccepted,
	"outside":      outside,
	"udp-server":   udpServer,
	"udp-client":   udpClient,
	"netlink":      routes,
	"busy-server":  busyServer,
	"busy-client":  busyClient,

	"timers":  timers,
	"pending": pending,
	"threads": threads,
	"float":   float,
	"process": process,
	"member":  member,
	"inside":  inside,

	"scheduled":  scheduled,
	"realtime":   realtime,
	"locked":     locked,
	"traits":     traits,
	"undumpable": undumpable,
	"capable":    capable,
	"clocks":     clocks,
	"timeouts":   timeouts,
	"rearm":      rearm,
	"random":     randomness,

	"hungry":  hungry,
	"writer":  writer,
	"spinner": spinner,

	"io_uring":    ioUring,
	"perf_event":  perfEvent,
	"bpf":         bpfMap,
	"userfaultfd": userfault,
	"sysv":        sysvMemory,
	"bigshm":      bigMemory,
	"packet":      packetSocket,
}

// blocked are real-time signals that a victim has blocked in all threads. Go's
// runtime keeps the mask that a process starts with.
const blockedFirst, blockedLast = 40, 45

// Main runs the victim os.Args[1] in the directory os.Args[2].
func Main() {
	runtime.LockOSThread()
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintf(os.Stderr, "victim %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

func run(kind, dir string) error {
	var set unix.Sigset_t
	for s := blockedFirst; s <= blockedLast; s++ {
		addSignal(&set, s)
	}
	const marker = "PILOT_VICTIM_MASKED"
	if os.Getenv(marker) == "" {
		if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, nil); err != nil {
			return err
		}
		return unix.Exec("/proc/self/exe", os.Args, append(os.Environ(), marker+"=1"))
	}
	// What the test has open without knowing is no business of a victim.
	if err := unix.CloseRange(firstFD+16, ^uint(0)>>1&0xffffffff, 0); err != nil {
		return err
	}
	setup := kinds[kind]
	if setup == nil {
		return fmt.Errorf("no such victim")
	}
	log, err := os.OpenFile(filepath.Join(dir, Log), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	next, err := setup(dir)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		note, err := next()
		line := "ok " + strconv.Itoa(i) + " " + note + "\n"
		if err != nil {
			line = fmt.Sprintf("bad %d: %v\n", i, err)
		}
		if _, err := log.WriteString(line); err != nil {
			return err
		}
		time.Sleep(period)
	}
}

func addSignal(set *unix.Sigset_t, sig int) { set.Val[(sig-1)/64] |= 1 << ((sig - 1) % 64) }

// all makes one round of several steps.
func all(steps ...step) step {
	return func() (string, error) {
		for _, s := range steps {
			if note, err := s(); err != nil {
				return note, err
			}
		}
		return "", nil
	}
}

// A sequence makes bytes whose place in a stream can be told from them.
type sequence uint64

// next returns the next n bytes.
func (s *sequence) next(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(*s) ^ byte(*s>>8)*7
		*s++
	}
	return b
}

// check tells whether b are the next bytes.
func (s *sequence) check(b []byte) error {
	at := *s
	for i, want := range s.next(len(b)) {
		if b[i] != want {
			return fmt.Errorf("byte %d of the stream is %#x, want %#x", int(at)+i, b[i], want)
		}
	}
	return nil
}
