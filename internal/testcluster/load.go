//go:build linux

package testcluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Unlimited is a rate: clients wait for nothing but answers.
const Unlimited = -1

// LoadConfig says what a load does.
type LoadConfig struct {
	Rate    int       // writes per second of all workers together; 0 means 200; or Unlimited
	Workers int       // concurrent clients, spread over the members; 0 means 6
	Members []*Member // where the clients connect; nil means all (Redis: the master)
}

// LoadStats is what a load did until it was stopped.
type LoadStats struct {
	Acked        int     `json:"acked"`
	Reads        int     `json:"reads"`
	Errors       int     `json:"errors"`
	FirstError   string  `json:"first_error"`
	Losses       int     `json:"losses"` // connections or sessions lost
	MaxLatencyMS float64 `json:"max_latency_ms"`
	// RecentMaxLatencyMS is since the statistics were read before.
	RecentMaxLatencyMS float64 `json:"recent_max_latency_ms"`
	// So are these, of the writes.
	RecentP50MS float64        `json:"recent_p50_ms"`
	RecentP99MS float64        `json:"recent_p99_ms"`
	LastAcked   map[int]uint64 `json:"last_acked"` // by worker
}

// A Load is a client process that writes numbered entries and reads them back.
type Load struct {
	Record string // file with one line per acknowledged write, in order
	PID    int

	proc   *process
	stdout *os.File
	stats  *json.Decoder // of stdout
	stderr bytes.Buffer
}

const (
	loadStart = 15 * time.Second // limit for connecting all clients
	loadStop  = 10 * time.Second // limit for finishing the requests under way
	loadStats = 30 * time.Second // limit for an answer; the disk may be busy
)

// StartLoad starts a load and waits until all its clients are connected. The
// cluster stops it, at the latest.
func (c *Cluster) StartLoad(ctx context.Context, cfg LoadConfig) (*Load, error) {
	members := cfg.Members
	if members == nil {
		members = c.Members
		if c.Kind == Redis {
			members = c.Members[:1]
		}
	}
	l := &Load{Record: filepath.Join(c.Dir, fmt.Sprintf("load%d.record", len(c.loads)+1))}
	flags := []string{"-record", l.Record}
	if cfg.Rate != 0 {
		flags = append(flags, "-rate", strconv.Itoa(cfg.Rate))
	}
	if cfg.Workers > 0 {
		flags = append(flags, "-workers", strconv.Itoa(cfg.Workers))
	}
	argv := c.probe("load", members, flags...)
	cmd := exec.Command(argv[0], argv[1:]...)
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.Dir, w, &l.stderr
	l.stdout, l.stats = r, json.NewDecoder(r)
	l.proc, err = startProcess(cmd)
	w.Close()
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("start load: %w", err)
	}
	l.PID = cmd.Process.Pid
	c.loads = append(c.loads, l)
	if err := l.ready(ctx); err != nil {
		l.kill()
		return nil, fmt.Errorf("start load: %w: %s", err, tail(l.stderr.Bytes(), 1000))
	}
	return l, nil
}

// ready reads the line that the load prints when it begins.
func (l *Load) ready(ctx context.Context) error {
	limit := time.Now().Add(loadStart)
	if d, ok := ctx.Deadline(); ok && d.Before(limit) {
		limit = d
	}
	if err := l.stdout.SetReadDeadline(limit); err != nil {
		return err
	}
	const want = "ready\n"
	got := make([]byte, len(want))
	for n := 0; n < len(got); {
		m, err := l.stdout.Read(got[n:])
		if err != nil {
			return err
		}
		n += m
	}
	if string(got) != want {
		return fmt.Errorf("got %q", got)
	}
	return l.stdout.SetReadDeadline(time.Time{})
}

// Running reports whether the load goes on.
func (l *Load) Running() bool { return l.proc.running() }

// Acked counts the writes acknowledged so far.
func (l *Load) Acked() (int, error) {
	data, err := os.ReadFile(l.Record)
	return bytes.Count(data, []byte{'\n'}), err
}

// Cut copies the record as it is now to a file: those writes were acknowledged
// before Cut returned. Those of a copy made before an instant must be in every
// later state of the cluster.
func (l *Load) Cut(name string) (acked int, err error) {
	data, err := os.ReadFile(l.Record)
	if err != nil {
		return 0, err
	}
	data = data[:bytes.LastIndexByte(data, '\n')+1]
	return bytes.Count(data, []byte{'\n'}), os.WriteFile(name, data, 0o644)
}

// Stop ends the load after the requests under way, and returns what it did.
func (l *Load) Stop() (LoadStats, error) {
	if !l.proc.running() {
		return LoadStats{}, fmt.Errorf("the load ended by itself: %v: %s", l.proc.cmd.ProcessState, tail(l.stderr.Bytes(), 1000))
	}
	l.proc.stop(loadStop)
	defer l.stdout.Close()
	if !l.proc.cmd.ProcessState.Success() {
		return LoadStats{}, fmt.Errorf("stop load: %v: %s", l.proc.cmd.ProcessState, tail(l.stderr.Bytes(), 1000))
	}
	return l.read()
}

// Stats returns what the load did so far.
func (l *Load) Stats() (LoadStats, error) {
	l.proc.signal(syscall.SIGUSR1)
	return l.read()
}

func (l *Load) read() (LoadStats, error) {
	if err := l.stdout.SetReadDeadline(time.Now().Add(loadStats)); err != nil {
		return LoadStats{}, err
	}
	var stats LoadStats
	if err := l.stats.Decode(&stats); err != nil {
		return LoadStats{}, fmt.Errorf("read statistics of load: %w", err)
	}
	return stats, nil
}

// kill ends the load at once. It does nothing if the load has ended.
func (l *Load) kill() {
	l.proc.stop(0)
	l.stdout.Close()
}
