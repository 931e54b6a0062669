//go:build linux

package main

import (
	"fmt"
	"net"
	"time"
)

// forks measures the pause by memory.
func (b *bench) forks() (table, error) {
	t := table{{"memory", "pages", "fork(2)", "pause", "ratio", "longer by", "goal met"}}
	for _, s := range []size{
		{mib: 100}, {mib: 1 << 10}, {mib: 4 << 10}, {mib: 8 << 10},
		{mib: 100, huge: true}, {mib: 1 << 10, huge: true}, {mib: 4 << 10, huge: true}, {mib: 8 << 10, huge: true},
	} {
		fork, pause, err := b.forkAndPause(s)
		if err != nil {
			return t, fmt.Errorf("%d MiB: %w", s.mib, err)
		}
		pages := "4 KiB"
		if s.huge {
			pages = "2 MiB"
		}
		goal := "no"
		if pause <= fork*5/4+2*time.Millisecond {
			goal = "yes"
		}
		t = append(t, []string{fmt.Sprintf("%.1f GiB", float64(s.mib)/1024), pages, ms(fork), ms(pause), ratio(pause, fork), ms(pause - fork), goal})
	}
	return t, nil
}

// forkAndPause alternates the two in each round: a machine's mood changes.
func (b *bench) forkAndPause(s size) (fork, pause time.Duration, err error) {
	v, err := b.start(s)
	if err != nil {
		return 0, 0, err
	}
	defer v.stop()
	var forks, pauses []time.Duration
	for range b.rounds {
		took, err := v.fork(1)
		if err != nil {
			return 0, 0, err
		}
		a, err := ask(request{What: "pause", PID: v.pid(), Rounds: 1})
		if err != nil {
			return 0, 0, err
		}
		forks, pauses = append(forks, took...), append(pauses, a.Times...)
	}
	return median(forks), median(pauses), nil
}

// threads measures the pause by threads.
func (b *bench) threads() (table, error) {
	t := table{{"threads", "ptrace", "pause", "ratio", "pause a thread, us"}}
	for _, n := range []int{10, 100, 1000} {
		raw, pause, err := b.beside(size{mib: 1, threads: n}, "ptrace")
		if err != nil {
			return t, fmt.Errorf("%d threads: %w", n, err)
		}
		t = append(t, []string{fmt.Sprint(n), ms(raw), ms(pause), ratio(pause, raw), fmt.Sprintf("%.0f", float64(pause.Microseconds())/float64(n))})
	}
	return t, nil
}

// connections measures the pause by connections.
func (b *bench) connections() (table, error) {
	t := table{{"connections", "other end", "one look at each", "pause", "ratio", "pause a connection, us"}}
	port, stop, err := outside()
	if err != nil {
		return t, err
	}
	defer stop()
	const most = 9900 // the victim has both ends, and a process 20,000 descriptors where root cannot raise its limit
	for _, s := range []size{{conns: 10}, {conns: 1000}, {conns: most}, {conns: 10, port: port}, {conns: 1000, port: port}, {conns: 10000, port: port}} {
		s.mib = 1
		raw, pause, err := b.beside(s, "sockets")
		if err != nil {
			return t, fmt.Errorf("%d connections: %w", s.conns, err)
		}
		end := "in the cluster"
		if s.port != 0 {
			end = "outside"
		}
		t = append(t, []string{
			fmt.Sprint(s.conns), end, ms(raw), ms(pause), ratio(pause, raw), fmt.Sprintf("%.1f", float64(pause.Microseconds())/float64(s.conns)),
		})
	}
	return t, nil
}

// outside takes connections and leaves them alone.
func outside() (port int, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, nil, err
	}
	go func() {
		var all []net.Conn // until the victims have ended
		for {
			c, err := l.Accept()
			if err != nil {
				for _, c := range all {
					_ = c.Close()
				}
				return
			}
			all = append(all, c)
		}
	}()
	return l.Addr().(*net.TCPAddr).Port, func() { _ = l.Close() }, nil
}

// beside measures the kernel's own calls and the pause in turn.
func (b *bench) beside(s size, what string) (raw, pause time.Duration, err error) {
	v, err := b.start(s)
	if err != nil {
		return 0, 0, err
	}
	defer v.stop()
	var raws, pauses []time.Duration
	for range b.rounds {
		for _, m := range []struct {
			what string
			to   *[]time.Duration
		}{{what, &raws}, {"pause", &pauses}} {
			a, err := ask(request{What: m.what, PID: v.pid(), Rounds: 1})
			if err != nil {
				return 0, 0, err
			}
			*m.to = append(*m.to, a.Times...)
		}
	}
	return median(raws), median(pauses), nil
}
