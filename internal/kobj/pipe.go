//go:build linux

package kobj

import (
	"fmt"
	"os"

	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// pipe is a pipe or a fifo, pipe(7). Both ends are made from one new pipe. An
// end that production has outside the cluster is held open by the world and
// stays silent, but the output of a member goes to its log.
type pipe struct{}

type pipeState struct {
	ino  uint64
	fifo string // its path, or empty
	size int
	// lonely means that the other end is closed everywhere.
	lonely  bool
	packets bool     // O_DIRECT: data is one piece for each write
	data    [][]byte // unread bytes, captured at a reading end
}

// pipeEnds is one new pipe. Both descriptors belong to the world.
type pipeEnds struct {
	r, w sys.FD
	// awaits is set when somebody outside the cluster may still write.
	awaits bool
	from   *pipeState // a reading end, if there is one
}

func (pipe) Name() string { return "pipe" }

func (pipe) Match(src *Source) bool { return src.Stat.Mode&unix.S_IFMT == unix.S_IFIFO }

func (pipe) Capture(src *Source) (any, error) {
	st := pipeState{ino: src.Stat.Ino}
	if src.Link[0] == '/' {
		st.fifo = src.Link
	}
	var err error
	if st.size, err = unix.FcntlInt(uintptr(src.Dup), unix.F_GETPIPE_SZ, 0); err != nil {
		return nil, os.NewSyscallError("fcntl getpipe_sz", err)
	}
	if st.lonely, err = lonely(src.Dup); err != nil {
		return nil, err
	}
	if src.Info.Flags&unix.O_ACCMODE != unix.O_WRONLY {
		st.data, err = peekPipe(src.Dup, st.size)
		st.packets = len(st.data) > 1
	}
	return st, err
}

// lonely reports whether the other end of a pipe is closed everywhere, pipe(7).
func lonely(fd sys.FD) (bool, error) {
	events, err := pollNow(fd, 0)
	return events&(unix.POLLHUP|unix.POLLERR) != 0, err
}

// pollNow returns what poll(2) shows of fd at once. It may be interrupted all
// the same, by the signals of Go's runtime.
func pollNow(fd sys.FD, events int16) (int16, error) {
	for {
		p := []unix.PollFd{{Fd: int32(fd), Events: events}}
		if _, err := unix.Poll(p, 0); err != unix.EINTR {
			return p[0].Revents, os.NewSyscallError("poll", err)
		}
	}
}

// peekPipe copies what is in a pipe and leaves it there, tee(2).
func peekPipe(fd sys.FD, size int) ([][]byte, error) {
	waiting, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
	if err != nil || waiting == 0 {
		return nil, os.NewSyscallError("ioctl fionread", err)
	}
	var own [2]int
	if err := unix.Pipe2(own[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	defer unix.Close(own[0])
	defer unix.Close(own[1])
	if _, err := unix.FcntlInt(uintptr(own[1]), unix.F_SETPIPE_SZ, size); err != nil {
		return nil, os.NewSyscallError("fcntl setpipe_sz", err)
	}
	n, err := unix.Tee(int(fd), own[1], size, unix.SPLICE_F_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("tee", err)
	}
	if int(n) < waiting {
		return nil, fmt.Errorf("tee copied %d of %d bytes", n, waiting)
	}
	var pieces [][]byte
	for left := int(n); left > 0; {
		piece := make([]byte, left)
		got, err := unix.Read(own[0], piece) // stops at the end of a packet
		if err != nil || got == 0 {
			return nil, fmt.Errorf("read copy of pipe: %d of %d bytes left: %w", left, n, err)
		}
		pieces = append(pieces, piece[:got])
		left -= got
	}
	return pieces, nil
}

func (pipe) Restore(w *World, d *Description) (sys.FD, error) {
	st := d.State.(pipeState)
	writes := d.Flags&unix.O_ACCMODE == unix.O_WRONLY
	if writes && !w.read[st.ino] && !st.lonely {
		// Nobody in the cluster reads it: most often stdout, on its way to a
		// log collector.
		return w.output(d, "a pipe that is read outside the cluster")
	}
	ends, err := w.pipe(st)
	if err != nil {
		return -1, err
	}
	from := ends.w
	if !writes {
		from, ends.from = ends.r, &st
		ends.awaits = !st.lonely && !w.written[st.ino]
	}
	// The kernel opens no pipe for packets, but can turn one.
	plain := *d
	plain.Flags &^= unix.O_DIRECT
	fd, err := reopen(from, &plain)
	if err != nil || plain.Flags == d.Flags {
		return fd, err
	}
	return fd, setStatus(fd, d)
}

// Plan notes what depends on the whole set of descriptions. Call it before Restore.
func (w *World) Plan(all []*Description) {
	w.read, w.written = map[uint64]bool{}, map[uint64]bool{}
	for _, d := range all {
		if st, ok := d.State.(pipeState); ok {
			how := d.Flags & unix.O_ACCMODE
			w.read[st.ino] = w.read[st.ino] || how != unix.O_WRONLY
			w.written[st.ino] = w.written[st.ino] || how != unix.O_RDONLY
		}
	}
}

func (w *World) pipe(st pipeState) (*pipeEnds, error) {
	if ends := w.pipes[st.ino]; ends != nil {
		return ends, nil
	}
	p := [2]int{-1, -1}
	if st.fifo != "" && w.Writable(st.fifo) {
		// Others of the world find it by its path.
		for i, how := range []int{unix.O_RDONLY, unix.O_WRONLY} {
			fd, err := openInside(st.fifo, how|unix.O_NONBLOCK)
			if err != nil {
				return nil, err
			}
			p[i] = int(fd)
		}
	} else if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	ends := &pipeEnds{r: sys.FD(p[0]), w: sys.FD(p[1])}
	w.pipes[st.ino] = ends
	if _, err := unix.FcntlInt(uintptr(p[1]), unix.F_SETPIPE_SZ, st.size); err != nil {
		return nil, os.NewSyscallError("fcntl setpipe_sz", err)
	}
	return ends, nil
}

// fillPipes puts the unread bytes back, and closes or keeps our ends.
func (w *World) fillPipes() error {
	for _, ends := range w.pipes {
		if err := ends.fill(); err != nil {
			return err
		}
		// A reading end alone would find the end of file at once.
		if ends.awaits {
			w.keep = append(w.keep, ends.w)
		} else {
			_ = ends.w.Close()
		}
		_ = ends.r.Close()
	}
	return nil
}

func (e *pipeEnds) fill() error {
	if e.from == nil {
		return nil
	}
	if e.from.packets {
		if _, err := unix.FcntlInt(uintptr(e.w), unix.F_SETFL, unix.O_DIRECT|unix.O_NONBLOCK); err != nil {
			return os.NewSyscallError("fcntl o_direct", err)
		}
	}
	for _, piece := range e.from.data {
		n, err := unix.Write(int(e.w), piece)
		if err != nil || n < len(piece) {
			return fmt.Errorf("refill pipe: %d of %d bytes: %w", n, len(piece), err)
		}
	}
	return nil
}

// reopen opens the object behind fd once more, so that the new open file
// description has the flags and the position of d.
func reopen(fd sys.FD, d *Description) (sys.FD, error) {
	n, err := openOnHost(fmt.Sprintf("/proc/self/fd/%d", fd), d.Flags)
	if err != nil {
		return -1, err
	}
	if d.Pos != 0 {
		if _, err := unix.Seek(int(n), d.Pos, unix.SEEK_SET); err != nil {
			_ = n.Close()
			return -1, os.NewSyscallError("lseek", err)
		}
	}
	return n, nil
}

// openOnHost opens path as the agent sees it. Restoring runs on a thread whose
// paths, /proc included, are the world's; another goroutine is not on it.
func openOnHost(path string, flags int) (sys.FD, error) {
	type result struct {
		fd  int
		err error
	}
	opened := make(chan result)
	go func() {
		fd, err := unix.Open(path, (flags&^once)|unix.O_CLOEXEC, 0)
		opened <- result{fd, err}
	}()
	r := <-opened
	if r.err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: r.err}
	}
	return sys.FD(r.fd), nil
}
