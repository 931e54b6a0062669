//go:build linux

package cgroup

import (
	"fmt"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// BenchmarkPrivAdd moves a stopped process to and fro, as a seed is moved, and
// tells the longest that another program's fork took meanwhile: the kernel lets
// nobody fork in the moment of a move.
func BenchmarkPrivAdd(b *testing.B) {
	hs, err := Find()
	if err != nil || len(hs) == 0 {
		b.Skip("no control group can be written to here: ", err)
	}
	for _, c := range []struct {
		name    string
		forking bool
		rest    time.Duration // between moves; the kernel is slower to begin than to go on
	}{{"alone", false, 0}, {"rested", false, 50 * time.Millisecond}, {"forking", true, 0}, {"forking-rested", true, 50 * time.Millisecond}} {
		b.Run(c.name, func(b *testing.B) {
			r, err := New(hs, fmt.Sprintf("bench-%d-%s", selfPID(), c.name), Limits{CPUWeight: 2, PIDs: 1000, Memory: 1 << 30})
			if err != nil {
				b.Fatal(err)
			}
			defer func() {
				if err := r.Close(); err != nil {
					b.Error(err)
				}
			}()
			var groups [2]*Group
			for i := range groups {
				if groups[i], err = r.Group(fmt.Sprint(i), Limits{}); err != nil {
					b.Fatal(err)
				}
			}
			cmd := exec.Command("sleep", "300")
			if err := cmd.Start(); err != nil {
				b.Fatal(err)
			}
			defer end(cmd)
			if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				b.Fatal(err)
			}
			var worst, forks atomic.Int64
			stop, done := make(chan bool), make(chan bool)
			go func() {
				defer close(done)
				for c.forking {
					select {
					case <-stop:
						return
					default:
					}
					began := time.Now()
					if exec.Command("true").Run() != nil {
						return
					}
					worst.Store(max(worst.Load(), int64(time.Since(began))))
					forks.Add(1)
				}
			}()
			i := 0
			for b.Loop() {
				if c.rest > 0 {
					b.StopTimer()
					time.Sleep(c.rest)
					b.StartTimer()
				}
				if err := groups[i%2].Add(cmd.Process.Pid); err != nil {
					b.Fatal(err)
				}
				i++
			}
			close(stop)
			<-done
			if c.forking {
				b.ReportMetric(float64(worst.Load())/1e6, "ms/worst-fork")
				b.ReportMetric(float64(forks.Load()), "forks")
			}
		})
	}
}
