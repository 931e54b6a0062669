//go:build linux

package victim

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// kept is how many bytes always wait to be read.
const kept = 5000

// streamed writes and reads a stream, of which kept bytes are always under way.
func streamed(name string, w, r int) step {
	var in, out sequence
	n := kept
	return func() (string, error) {
		if _, err := unix.Write(w, out.next(n)); err != nil {
			return "", fmt.Errorf("%s: write: %w", name, err)
		}
		n = 1 + int(out%700)
		buf := make([]byte, n)
		got, err := unix.Read(r, buf)
		if err != nil || got != n {
			return "", fmt.Errorf("%s: read %d of %d bytes: %w", name, got, n, err)
		}
		if err := in.check(buf); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		waiting, err := unix.IoctlGetInt(r, unix.TIOCINQ)
		if err != nil || waiting != int(out-in) {
			return "", fmt.Errorf("%s: %d bytes wait (%v), want %d", name, waiting, err, out-in)
		}
		return "", nil
	}
}

const pipeSize = 128 << 10

func pipe(string) (step, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_NONBLOCK); err != nil {
		return nil, err
	}
	if _, err := unix.FcntlInt(uintptr(p[1]), unix.F_SETPIPE_SZ, pipeSize); err != nil {
		return nil, err
	}
	var packets [2]int
	if err := unix.Pipe2(packets[:], unix.O_NONBLOCK|unix.O_DIRECT|unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	var shut [2]int // whose writing end is closed
	if err := unix.Pipe2(shut[:], unix.O_NONBLOCK); err != nil {
		return nil, err
	}
	if err := unix.Close(shut[1]); err != nil {
		return nil, err
	}
	var broken [2]int // whose reading end is closed
	if err := unix.Pipe2(broken[:], unix.O_NONBLOCK); err != nil {
		return nil, err
	}
	if err := unix.Close(broken[0]); err != nil {
		return nil, err
	}
	full, err := fullPipe()
	return all(streamed("pipe", p[1], p[0]), messages("packets", packets[1], packets[0], 7), full, func() (string, error) {
		if n, err := unix.FcntlInt(uintptr(p[0]), unix.F_GETPIPE_SZ, 0); err != nil || n != pipeSize {
			return "", fmt.Errorf("room for %d bytes (%v), want %d", n, err, pipeSize)
		}
		if n, err := unix.Read(shut[0], make([]byte, 1)); n != 0 || err != nil {
			return "", fmt.Errorf("read without a writer: %d, %v", n, err)
		}
		if n, err := unix.Write(broken[1], make([]byte, 1)); err != unix.EPIPE {
			return "", fmt.Errorf("write without a reader: %d, %v", n, err)
		}
		return "", nil
	}), err
}

// fullPipe keeps a pipe so full that nothing fits.
func fullPipe() (step, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	var in, out sequence
	page := 64 << 10
	return func() (string, error) {
		if _, err := unix.Write(p[1], out.next(page)); err != nil {
			return "", fmt.Errorf("full pipe: write: %w", err)
		}
		page = 4096
		if n, err := unix.Write(p[1], []byte{0}); err != unix.EAGAIN {
			return "", fmt.Errorf("full pipe: wrote %d more: %v", n, err)
		}
		buf := make([]byte, page)
		if n, err := unix.Read(p[0], buf); n != page {
			return "", fmt.Errorf("full pipe: read %d: %w", n, err)
		}
		return "", in.check(buf)
	}, nil
}

// messages writes and reads messages, of which some are always under way.
func messages(name string, w, r, ahead int) step {
	sent, read := 0, 0
	text := func(n int) string { return fmt.Sprintf("%s %0*d", name, n%37, n) }
	return func() (string, error) {
		for ; sent <= read+ahead; sent++ {
			if _, err := unix.Write(w, []byte(text(sent))); err != nil {
				return "", fmt.Errorf("%s: write message %d: %w", name, sent, err)
			}
		}
		buf := make([]byte, 4096)
		n, err := unix.Read(r, buf)
		if err != nil {
			return "", fmt.Errorf("%s: read message %d: %w", name, read, err)
		}
		if got := string(buf[:n]); got != text(read) {
			return "", fmt.Errorf("%s: got %q, want %q", name, got, text(read))
		}
		read++
		return "", nil
	}
}

// pipeWriter and pipeReader are two members with a pipe, always nearly full.
func pipeWriter(string) (step, error) {
	if err := unix.SetNonblock(firstFD, true); err != nil {
		return nil, err
	}
	var out sequence
	return func() (string, error) {
		for range 20 {
			// At most PIPE_BUF bytes are written as a whole, or not at all.
			ahead := out
			_, err := unix.Write(firstFD, ahead.next(4096))
			if err == unix.EAGAIN {
				break
			}
			if err != nil {
				return "", fmt.Errorf("write: %w", err)
			}
			out = ahead
		}
		return fmt.Sprint(out), nil
	}, nil
}

func pipeReader(string) (step, error) {
	var in sequence
	return func() (string, error) {
		buf := make([]byte, 3000)
		n, err := unix.Read(firstFD, buf)
		if err != nil || n == 0 {
			return "", fmt.Errorf("read: %d, %w", n, err)
		}
		return fmt.Sprint(in), in.check(buf[:n])
	}, nil
}

// fifo uses a fifo by an end for both, and by a writer that comes by path.
func fifo(dir string) (step, error) {
	path := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(path, 0o644); err != nil {
		return nil, err
	}
	both, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	r, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	var in, out sequence
	n := kept
	return func() (string, error) {
		if _, err := unix.Write(both, out.next(n)); err != nil {
			return "", fmt.Errorf("write: %w", err)
		}
		n = 100
		late, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return "", err
		}
		defer late.Close()
		if _, err := late.Write(out.next(n)); err != nil {
			return "", err
		}
		buf := make([]byte, 2*n)
		if got, err := unix.Read(r, buf); got != len(buf) {
			return "", fmt.Errorf("read %d: %w", got, err)
		}
		return "", in.check(buf)
	}, nil
}
