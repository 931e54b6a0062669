//go:build linux

package main

import (
	"bufio"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

//go:embed testdata/victim.c
var source string

// compile builds the victim.
func (b *bench) compile() error {
	b.victim = filepath.Join(b.dir, "victim")
	cmd := exec.Command("cc", "-O2", "-pthread", "-x", "c", "-o", b.victim, "-")
	cmd.Stdin = strings.NewReader(source)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compile the victim: %w\n%s", err, out)
	}
	return nil
}

// A size is what a victim has.
type size struct {
	mib     int
	huge    bool // pages
	plain   bool // leaves it to the kernel, which makes small ones at first
	threads int
	conns   int
	port    int // of the other end; 0: the victim itself
}

// A victim is a running one.
type victim struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// start runs a victim in a network of its own.
func (b *bench) start(s size) (*victim, error) {
	pages := "small"
	if s.huge {
		pages = "huge"
	}
	if s.plain {
		pages = "plain"
	}
	cmd := exec.Command(b.victim, strconv.Itoa(s.mib), pages, strconv.Itoa(s.threads), strconv.Itoa(s.conns), strconv.Itoa(s.port))
	cmd.Stderr, cmd.Dir = os.Stderr, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	v := &victim{cmd, in, bufio.NewScanner(out)}
	if line, err := v.line(); err != nil || line != "ready" {
		v.stop()
		return nil, fmt.Errorf("the victim says %q: %v", line, err)
	}
	return v, nil
}

func (v *victim) line() (string, error) {
	if !v.out.Scan() {
		return "", io.ErrUnexpectedEOF
	}
	return v.out.Text(), nil
}

func (v *victim) pid() int { return v.cmd.Process.Pid }

// fork has the victim fork itself n times, and returns how long each call took.
func (v *victim) fork(n int) (all []time.Duration, err error) { return v.tell("fork", n, n) }

// gap returns the longest wait for a mapping since it was asked for before.
func (v *victim) gap() (time.Duration, error) {
	all, err := v.tell("gap", 0, 1)
	return median(all), err
}

// tell gives the victim an order, which it answers with times.
func (v *victim) tell(what string, n, times int) (all []time.Duration, err error) {
	if _, err := fmt.Fprintf(v.in, "%s %d\n", what, n); err != nil {
		return nil, err
	}
	for range times {
		line, err := v.line()
		if err != nil {
			return nil, err
		}
		ns, err := strconv.ParseInt(line, 10, 64)
		if err != nil {
			return nil, err
		}
		all = append(all, time.Duration(ns))
	}
	return all, nil
}

func (v *victim) stop() {
	_ = v.cmd.Process.Kill()
	_ = v.cmd.Wait()
}
