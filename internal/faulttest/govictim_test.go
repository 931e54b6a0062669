//go:build linux

package faulttest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// goVictimName is how the test binary is executed again to become the victim
// written in Go. It does what testdata/victim.c does, as far as Go lets it.
const goVictimName = "pilot-fault-victim"

// late is how long after its time anything may happen on a busy machine.
const late = 20 * time.Second

// goVictim is the state of the victim written in Go.
type goVictim struct {
	errors *os.File
	names  []string
	rounds []*atomic.Int64
	kept   [][]byte // something for the collector
}

func goVictimMain(dir string) {
	v := &goVictim{}
	var err error
	if v.errors, err = os.OpenFile(filepath.Join(dir, "errors"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644); err != nil {
		panic(err)
	}
	progress, err := os.Create(filepath.Join(dir, "progress"))
	if err != nil {
		panic(err)
	}
	if err := v.start(dir); err != nil {
		panic(err)
	}
	for {
		var text bytes.Buffer
		for i, name := range v.names {
			fmt.Fprintf(&text, "%-11s %11d\n", name, v.rounds[i].Load())
		}
		if _, err := progress.WriteAt(text.Bytes(), 0); err != nil {
			v.fail("progress: %v", err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (v *goVictim) fail(format string, args ...any) {
	fmt.Fprintf(v.errors, format+"\n", args...)
}

// worker runs round for ever.
func (v *goVictim) worker(name string, round func() error) {
	n := new(atomic.Int64)
	v.names, v.rounds = append(v.names, name), append(v.rounds, n)
	go func() {
		for ; ; n.Add(1) {
			if err := round(); err != nil {
				v.fail("%s: %v", name, err)
				time.Sleep(100 * time.Millisecond)
			}
		}
	}()
}

func (v *goVictim) start(dir string) error {
	v.registers()
	if err := v.echo(); err != nil {
		return err
	}
	if err := v.pipe(); err != nil {
		return err
	}
	if err := v.journal(dir); err != nil {
		return err
	}
	v.clocks()
	v.garbage()
	v.worker("children", func() error {
		defer time.Sleep(300 * time.Millisecond)
		// Not os/exec, which holds a pidfd: pilot refuses that.
		child, err := syscall.ForkExec("/bin/true", []string{"true"}, nil)
		if err != nil {
			return err
		}
		var ws syscall.WaitStatus
		for {
			pid, err := syscall.Wait4(-1, &ws, 0, nil)
			if err == syscall.EINTR {
				continue
			}
			if err != nil || pid != child || !ws.Exited() || ws.ExitStatus() != 0 {
				return fmt.Errorf("wait4: %d status %#x (%v), want %d", pid, ws, err, child)
			}
			break
		}
		if pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil); err != syscall.ECHILD {
			return fmt.Errorf("a stranger %d, %v", pid, err)
		}
		return nil
	})
	return v.alarms()
}

func general(n int) uint64 {
	a, b, c, d, e, f := uint64(1), uint64(2), uint64(3), uint64(4), uint64(5), uint64(6)
	for range n {
		a += b ^ c<<7
		b = (b<<13 | b>>51) + d
		c ^= a * 0x9e3779b97f4a7c15
		d += e
		e ^= f >> 3
		f += a * 5
	}
	return a ^ b ^ c ^ d ^ e ^ f
}

func floats(n int) float64 {
	x, y, z := 1.0, 2.0, 3.0
	for range n {
		x = math.FMA(x, 1/3.0, y)
		y = math.Sqrt(z*z + 1)
		z = y/1.5 + x/7
	}
	return x + y + z
}

// registers computes what must come out the same every time, in general,
// floating point and vector registers.
func (v *goVictim) registers() {
	wantG, wantF := general(100_000), floats(20_000)
	data := bytes.Repeat([]byte("0123456789abcdef"), 4096)
	wantS := sha256.Sum256(data)
	v.worker("general", func() error {
		defer time.Sleep(3 * time.Millisecond)
		if got := general(100_000); got != wantG {
			return fmt.Errorf("%#x, want %#x", got, wantG)
		}
		return nil
	})
	v.worker("floats", func() error {
		defer time.Sleep(3 * time.Millisecond)
		if got := floats(20_000); got != wantF {
			return fmt.Errorf("%v, want %v", got, wantF)
		}
		return nil
	})
	v.worker("vectors", func() error {
		defer time.Sleep(3 * time.Millisecond)
		if got := sha256.Sum256(data); got != wantS {
			return fmt.Errorf("%x, want %x", got, wantS)
		}
		return nil
	})
}

func (v *goVictim) echo() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return err
	}
	server, err := l.Accept()
	if err != nil {
		return err
	}
	_ = l.Close()
	const size = 700
	echoed := make([]byte, size)
	v.worker("echo", func() error {
		if _, err := io.ReadFull(server, echoed); err != nil {
			return err
		}
		_, err := server.Write(echoed)
		return err
	})
	out, in, at := make([]byte, size), make([]byte, size), 0
	v.worker("client", func() error {
		defer time.Sleep(time.Millisecond)
		for i := range out {
			out[i] = byte(at) ^ byte(at>>8)*7
			at++
		}
		if _, err := client.Write(out); err != nil {
			return err
		}
		if _, err := io.ReadFull(client, in); err != nil {
			return err
		}
		if !bytes.Equal(in, out) {
			return fmt.Errorf("the bytes before %d came back otherwise", at)
		}
		return nil
	})
	return nil
}

func (v *goVictim) pipe() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	next, want := byte(0), byte(0)
	v.worker("sender", func() error {
		defer time.Sleep(time.Millisecond)
		next++
		_, err := w.Write([]byte{next})
		return err
	})
	v.worker("receiver", func() error {
		var got [1]byte
		if _, err := io.ReadFull(r, got[:]); err != nil {
			return err
		}
		if want++; got[0] != want {
			return fmt.Errorf("%d, want %d", got[0], want)
		}
		return nil
	})
	return nil
}

// journal appends to a file under a record lock.
func (v *goVictim) journal(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, "journal"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	var size int64
	v.worker("journal", func() error {
		defer time.Sleep(3 * time.Millisecond)
		lock := syscall.Flock_t{Type: syscall.F_WRLCK, Start: 100, Len: 8}
		if err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLKW, &lock); err != nil {
			return err
		}
		line := fmt.Appendf(nil, "%15d\n", size)
		if _, err := f.Write(line); err != nil {
			return err
		}
		got := make([]byte, len(line))
		if _, err := f.ReadAt(got, size); err != nil || !bytes.Equal(got, line) {
			return fmt.Errorf("read %q (%v), want %q", got, err, line)
		}
		if size += int64(len(line)); size == 4096 {
			size = 0
			if err := f.Truncate(0); err != nil {
				return err
			}
		}
		lock.Type = syscall.F_UNLCK
		return syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &lock)
	})
	return nil
}

func (v *goVictim) clocks() {
	v.worker("sleeper", func() error {
		const asked = 6 * time.Millisecond
		start := time.Now()
		time.Sleep(asked)
		if took := time.Since(start); took < asked || took > asked+late {
			return fmt.Errorf("took %v instead of %v", took, asked)
		}
		return nil
	})
	tick := time.NewTicker(5 * time.Millisecond)
	last := time.Now()
	v.worker("ticker", func() error {
		<-tick.C
		ago := time.Since(last)
		last = time.Now()
		if ago > late {
			return fmt.Errorf("no tick for %v", ago)
		}
		return nil
	})
}

// garbage keeps the collector busy, which stops the world and takes signals.
func (v *goVictim) garbage() {
	v.worker("garbage", func() error {
		defer time.Sleep(5 * time.Millisecond)
		blocks := make([][]byte, 100)
		for i := range blocks {
			blocks[i] = make([]byte, 5000+i)
			blocks[i][i] = byte(i)
		}
		for i := range blocks {
			if blocks[i][i] != byte(i) {
				return fmt.Errorf("block %d holds %d", i, blocks[i][i])
			}
		}
		v.kept = blocks
		return nil
	})
	v.worker("collector", func() error {
		defer time.Sleep(50 * time.Millisecond)
		runtime.GC()
		return nil
	})
}

// alarms takes a SIGALRM every 7 ms.
func (v *goVictim) alarms() error {
	c := make(chan os.Signal, 100)
	signal.Notify(c, syscall.SIGALRM)
	last := time.Now()
	v.worker("alarms", func() error {
		<-c
		ago := time.Since(last)
		last = time.Now()
		if ago > late {
			return fmt.Errorf("none for %v", ago)
		}
		return nil
	})
	every := unix.NsecToTimeval(int64(7 * time.Millisecond))
	_, err := unix.Setitimer(unix.ITIMER_REAL, unix.Itimerval{Interval: every, Value: every})
	return err
}
