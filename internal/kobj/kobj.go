//go:build linux

// Package kobj captures the kernel objects behind the descriptors of stopped
// processes, and makes them anew in a world.
//
// Capturing changes nothing that an origin could observe. Restoring gives new
// objects that share nothing with the captured ones. There is one file for
// each kind of object, and one table, [kinds], that lists them all.
package kobj

import (
	"errors"
	"fmt"
	"os"

	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// A Holder is one descriptor that refers to an open file description.
type Holder struct {
	Member      int // index in the list of members
	FD          int
	CloseOnExec bool
}

// A Description is a captured open file description. Descriptors that share
// one in production share one in the world.
type Description struct {
	Kind    Kind
	Flags   int // as open(2) has them, without O_CLOEXEC
	Pos     int64
	Holders []Holder
	Locks   []procfs.Lock
	State   any // what Kind has captured
}

func (d *Description) String() string {
	h := d.Holders[0]
	return fmt.Sprintf("%s (member %d, fd %d)", d.Kind.Name(), h.Member, h.FD)
}

// A Source is one descriptor of a stopped process, about to be captured.
type Source struct {
	Member int
	PID    int
	FD     int
	Link   string // /proc/PID/fd/FD
	Info   procfs.FDInfo
	Stat   unix.Stat_t
	// Dup is our duplicate of the descriptor. It belongs to the caller.
	Dup sys.FD
	// PIDFD refers to the process. Like Unix it is needed to capture, not to
	// match, and stays open until the connections are drained.
	PIDFD sys.FD
	// Unix tells about local sockets. It is needed to capture, not to match.
	Unix sys.UnixDiag
}

// A Kind moves one kind of kernel object from a stopped origin into a world.
type Kind interface {
	// Name is the kind as reports show it.
	Name() string
	// Match reports whether src is of this kind.
	Match(src *Source) bool
	// Capture reads src. The result holds no reference to production's object.
	Capture(src *Source) (any, error)
	// Restore makes the object anew. It runs on a thread that is inside the
	// world's network and mount namespaces. The caller owns the result.
	Restore(w *World, d *Description) (sys.FD, error)
}

// kinds is everything that a world can have. The first that matches wins.
var kinds = []Kind{
	epoll{},    // epoll.go
	eventfd{},  // eventfd.go
	timerfd{},  // timerfd.go
	signalfd{}, // signalfd.go
	inotify{},  // inotify.go
	memfd{},    // memfd.go
	pipe{},     // pipe.go
	listener{}, // tcp.go
	stream{},   // tcp.go
	datagram{}, // udp.go
	netlink{},  // netlink.go
	unixSock{}, // unix.go
	tty{},      // tty.go
	file{},     // file.go
}

// ErrUnknown means that no kind matches a descriptor.
var ErrUnknown = errors.New("no kind of object that pilot can recreate")

// KindOf finds the kind of src.
func KindOf(src *Source) (Kind, error) {
	for _, k := range kinds {
		if k.Match(src) {
			return k, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", src.Link, ErrUnknown)
}

// An Error says which kernel object of which process could not be cloned.
type Error struct {
	Op   string // "capture" or "restore"
	PID  int    // in the agent's pid namespace
	FD   int
	Kind string
	Err  error
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s %s (pid %d, fd %d): %v", e.Op, e.Kind, e.PID, e.FD, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Capture reads the object behind src.
func Capture(src *Source) (*Description, error) {
	kind, err := KindOf(src)
	if err != nil {
		return nil, &Error{"capture", src.PID, src.FD, src.Link, err}
	}
	state, err := kind.Capture(src)
	if err != nil {
		return nil, &Error{"capture", src.PID, src.FD, kind.Name(), err}
	}
	return &Description{
		Kind:    kind,
		Flags:   src.Info.Flags &^ unix.O_CLOEXEC,
		Pos:     src.Info.Pos,
		Holders: []Holder{src.holder()},
		Locks:   src.Info.Locks,
		State:   state,
	}, nil
}

func (src *Source) holder() Holder {
	return Holder{src.Member, src.FD, src.Info.Flags&unix.O_CLOEXEC != 0}
}

// Share adds src to the holders of d, of which it is another descriptor.
func (d *Description) Share(src *Source) { d.Holders = append(d.Holders, src.holder()) }

// A World is what restoring needs to know of the world under construction.
type World struct {
	// Writable reports whether path lies in a data directory of the world.
	Writable func(path string) bool
	// Deleted maps the key of a file without a name (see [DeletedKey]) to its
	// copy on the host.
	Deleted map[string]string
	// Output is where the terminal and log output of a member goes.
	Output func(member int) (*os.File, error)
	// Gap declares a loss of fidelity.
	Gap func(d *Description, detail string)

	pipes     map[uint64]*pipeEnds
	memfds    map[uint64]sys.FD
	unixPairs map[uint64]sys.FD
	listeners []boundListener
	keep      []sys.FD        // far ends that must stay open while the world lives
	read      map[uint64]bool // pipes that the cluster reads, by inode
	written   map[uint64]bool // and those that it writes
	streams   map[*Description]sys.FD
	addresses map[string]bool
}

// Restore makes every description anew. It runs on a thread inside the world.
// The caller closes the results, which are in the order of all.
func (w *World) Restore(all []*Description) (fds []sys.FD, err error) {
	w.pipes = map[uint64]*pipeEnds{}
	w.memfds = map[uint64]sys.FD{}
	w.unixPairs = map[uint64]sys.FD{}
	w.streams = map[*Description]sys.FD{}
	fds = make([]sys.FD, len(all))
	for i := range fds {
		fds[i] = -1
	}
	defer func() {
		if err != nil {
			closeAll(fds)
		}
	}()
	// Connections need their listeners, and both of their ends at once.
	for i, d := range all {
		if _, ok := d.Kind.(listener); ok {
			if fds[i], err = w.restore(d); err != nil {
				return fds, err
			}
		}
	}
	if err := w.connect(all); err != nil {
		return fds, err
	}
	if err := w.pairUnix(all); err != nil {
		return fds, err
	}
	for i, d := range all {
		if fds[i] >= 0 {
			continue
		}
		if fds[i], err = w.restore(d); err != nil {
			return fds, err
		}
	}
	if err := w.connectUnix(all, fds); err != nil {
		return fds, err
	}
	return fds, w.fillPipes()
}

func (w *World) restore(d *Description) (sys.FD, error) {
	fd, err := d.Kind.Restore(w, d)
	if err == nil {
		err = d.takeLocks(fd)
	}
	if err != nil {
		return -1, fmt.Errorf("restore %v: %w", d, err)
	}
	return fd, nil
}

// Close lets go of what Restore kept open for the world.
func (w *World) Close() { closeAll(w.keep) }

func closeAll(fds []sys.FD) {
	for _, fd := range fds {
		if fd >= 0 {
			_ = fd.Close()
		}
	}
}

// setStatus gives fd the status flags of d that fcntl can set.
func setStatus(fd sys.FD, d *Description) error {
	const settable = unix.O_APPEND | unix.O_ASYNC | unix.O_DIRECT | unix.O_NOATIME | unix.O_NONBLOCK
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, d.Flags&settable)
	return os.NewSyscallError("fcntl", err)
}

// UnknownKind names what KindOf does not know, as precisely as it can.
func (src *Source) UnknownKind() string {
	if src.isMqueue() {
		return "mqueue"
	}
	if src.inetType() == unix.SOCK_STREAM {
		return "socket:[ktls]"
	}
	if d := src.domain(); d != 0 {
		if d == unix.AF_NETLINK {
			proto, _ := unix.GetsockoptInt(int(src.Dup), unix.SOL_SOCKET, unix.SO_PROTOCOL)
			return fmt.Sprintf("socket:[netlink %d]", proto)
		}
		if name, ok := families[d]; ok {
			return "socket:[" + name + "]"
		}
		return fmt.Sprintf("socket:[family %d]", d)
	}
	return src.Link
}

// families names the address families that a world cannot have.
var families = map[int]string{
	unix.AF_PACKET: "packet", unix.AF_VSOCK: "vsock", unix.AF_ALG: "alg", unix.AF_XDP: "xdp",
	unix.AF_INET: "raw", unix.AF_INET6: "raw6", unix.AF_BLUETOOTH: "bluetooth",
}
