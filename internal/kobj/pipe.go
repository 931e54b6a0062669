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
	data []byte // unread bytes, captured at a reading end
}

// pipeEnds is one new pipe. Both descriptors belong to the world.
type pipeEnds struct {
	r, w           sys.FD
	readers, wrote bool
	data           []byte
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
	if src.Info.Flags&unix.O_ACCMODE != unix.O_WRONLY {
		st.data, err = peekPipe(src.Dup, st.size)
	}
	return st, err
}

// peekPipe copies what is in a pipe and leaves it there, tee(2).
func peekPipe(fd sys.FD, size int) ([]byte, error) {
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
	data := make([]byte, n)
	_, err = unix.Read(own[0], data)
	return data, os.NewSyscallError("read", err)
}

func (pipe) Restore(w *World, d *Description) (sys.FD, error) {
	st := d.State.(pipeState)
	ends, err := w.pipe(st)
	if err != nil {
		return -1, err
	}
	if ends.data == nil {
		ends.data = st.data
	}
	switch d.Flags & unix.O_ACCMODE {
	case unix.O_RDONLY:
		ends.readers = true
		return reopen(ends.r, d)
	case unix.O_WRONLY:
		if !w.inodes[st.ino] {
			// Nobody in the cluster reads it: most often stdout, on its way
			// to a log collector.
			return w.output(d, "a pipe that is read outside the cluster")
		}
		return reopen(ends.w, d)
	default:
		ends.readers = true
		return reopen(ends.r, d)
	}
}

// Plan notes what depends on the whole set of descriptions. Call it before Restore.
func (w *World) Plan(all []*Description) {
	w.inodes = map[uint64]bool{}
	for _, d := range all {
		if st, ok := d.State.(pipeState); ok && d.Flags&unix.O_ACCMODE != unix.O_WRONLY {
			w.inodes[st.ino] = true
		}
	}
}

func (w *World) pipe(st pipeState) (*pipeEnds, error) {
	if ends := w.pipes[st.ino]; ends != nil {
		return ends, nil
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
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
		if len(ends.data) > 0 {
			if _, err := unix.Write(int(ends.w), ends.data); err != nil {
				return os.NewSyscallError("write pipe", err)
			}
		}
		// A reading end alone would find the end of file at once.
		if ends.readers {
			w.keep = append(w.keep, ends.w)
		} else {
			_ = ends.w.Close()
		}
		_ = ends.r.Close()
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
