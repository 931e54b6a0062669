package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"
)

// An entry is one write of a load: worker numbers its writes from 1.
type entry struct {
	worker int
	seq    uint64
}

// A store is a client connection that a load writes through. One goroutine
// uses it.
type store interface {
	// Init prepares the cluster for a load; nothing else changes it but Write.
	Init(ctx context.Context) error
	// Write stores e. It returns nil only for an acknowledged write.
	Write(ctx context.Context, e entry) error
	// Read returns an error unless e is stored with the right value.
	Read(ctx context.Context, e entry) error
	// All returns every stored entry, up to date with all acknowledged writes.
	All(ctx context.Context) (map[entry]bool, error)
	// Losses is how often the connection or session was lost. Any goroutine
	// may call it.
	Losses() int
	Close()
}

// A chronicler is a store that can tell the order in which it took the entries.
type chronicler interface {
	// Order returns the numbers of every worker's entries in that order. An
	// entry that was taken twice is there twice.
	Order(ctx context.Context) (map[int][]uint64, error)
}

// loadStats is what a load prints at its end.
type loadStats struct {
	Acked        int     `json:"acked"`
	Reads        int     `json:"reads"`
	Errors       int     `json:"errors"`
	FirstError   string  `json:"first_error,omitempty"`
	Losses       int     `json:"losses"` // connections or sessions lost
	MaxLatencyMS float64 `json:"max_latency_ms"`
	// RecentMaxLatencyMS is since the statistics were asked for before.
	RecentMaxLatencyMS float64 `json:"recent_max_latency_ms"`
	// So are these, of the writes.
	RecentP50MS float64        `json:"recent_p50_ms"`
	RecentP99MS float64        `json:"recent_p99_ms"`
	LastAcked   map[int]uint64 `json:"last_acked"` // by worker
}

// readEvery is how many writes a worker makes before it reads one back.
const readEvery = 5

// runLoad writes until ctx is done. It prints "ready" when all workers are
// connected, and the statistics on SIGUSR1 and at the end.
func runLoad(ctx context.Context, sys system, o *options) error {
	var record *os.File
	if o.record != "" {
		f, err := os.OpenFile(o.record, os.O_CREATE|os.O_WRONLY|os.O_APPEND|os.O_TRUNC, 0o644)
		if err != nil {
			return err
		}
		defer f.Close()
		record = f
	}
	l := &loader{opts: o, record: record, stats: loadStats{LastAcked: map[int]uint64{}}}

	stores := make([]store, o.workers)
	for i := range stores {
		opening, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		endpoint := o.endpoints[i%len(o.endpoints)]
		st, err := sys.open(opening, o, endpoint)
		if err != nil {
			return fmt.Errorf("connect to %s: %w", endpoint, err)
		}
		defer st.Close()
		if err := st.Init(opening); err != nil {
			return fmt.Errorf("prepare %s: %w", endpoint, err)
		}
		stores[i] = st
	}
	ask := make(chan os.Signal, 1)
	signal.Notify(ask, syscall.SIGUSR1)
	fmt.Println("ready") // from now on it may be asked

	var wg sync.WaitGroup
	for i, st := range stores {
		wg.Go(func() { l.work(ctx, i, st) })
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-ask:
			if err := printJSON(l.report(stores)); err != nil {
				return err
			}
		}
	}
	wg.Wait()
	stats := l.report(stores)
	if o.stats != "" {
		out, err := json.Marshal(stats)
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.stats, append(out, '\n'), 0o644); err != nil {
			return err
		}
	}
	return printJSON(stats)
}

type loader struct {
	opts   *options
	record *os.File // nil, or gets one line per acknowledged write

	mu    sync.Mutex // guards what follows
	stats loadStats
	// recent are the latencies of writes since the last report, in milliseconds.
	recent []float64
}

// mostRecent bounds the latencies that are kept.
const mostRecent = 1 << 20

// report returns the statistics as they are now.
func (l *loader) report(stores []store) loadStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	stats := l.stats
	stats.LastAcked = maps.Clone(stats.LastAcked)
	for _, st := range stores {
		stats.Losses += st.Losses()
	}
	l.stats.RecentMaxLatencyMS = 0
	slices.Sort(l.recent)
	if n := len(l.recent); n > 0 {
		stats.RecentP50MS, stats.RecentP99MS = l.recent[n/2], l.recent[n*99/100]
	}
	l.recent = l.recent[:0]
	return stats
}

// work writes numbered entries through st at the worker's share of the rate.
// A number is used once: after an error it is unknown whether it was stored.
func (l *loader) work(ctx context.Context, worker int, st store) {
	var tick <-chan time.Time // nil below: as fast as it goes
	if l.opts.rate > 0 {
		ticker := time.NewTicker(time.Duration(l.opts.workers) * time.Second / time.Duration(l.opts.rate))
		defer ticker.Stop()
		tick = ticker.C
	}
	for seq := uint64(1); ; seq++ {
		if tick != nil {
			select {
			case <-ctx.Done():
			case <-tick:
			}
		}
		if ctx.Err() != nil {
			return
		}
		// A request under way at the end is finished, so that it cannot
		// look like an error.
		e := entry{worker, seq}
		l.write(context.WithoutCancel(ctx), st, e)
		if seq%readEvery == 0 {
			l.read(context.WithoutCancel(ctx), st, worker)
		}
	}
}

func (l *loader) write(ctx context.Context, st store, e entry) {
	ctx, cancel := context.WithTimeout(ctx, l.opts.timeout)
	defer cancel()
	start := time.Now()
	err := st.Write(ctx, e)
	took := time.Since(start)

	l.mu.Lock()
	defer l.mu.Unlock()
	ms := float64(took.Microseconds()) / 1e3
	l.stats.MaxLatencyMS = max(l.stats.MaxLatencyMS, ms)
	l.stats.RecentMaxLatencyMS = max(l.stats.RecentMaxLatencyMS, ms)
	if len(l.recent) < mostRecent {
		l.recent = append(l.recent, ms)
	}
	if err != nil {
		l.fail(fmt.Errorf("write %d of worker %d: %w", e.seq, e.worker, err))
		return
	}
	l.stats.Acked++
	l.stats.LastAcked[e.worker] = e.seq
	if l.record != nil {
		if _, err := fmt.Fprintf(l.record, "%d %d\n", e.worker, e.seq); err != nil {
			l.fail(err)
		}
	}
}

func (l *loader) read(ctx context.Context, st store, worker int) {
	l.mu.Lock()
	e := entry{worker, l.stats.LastAcked[worker]}
	l.mu.Unlock()
	if e.seq == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, l.opts.timeout)
	defer cancel()
	err := st.Read(ctx, e)

	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Reads++
	if err != nil {
		l.fail(fmt.Errorf("read %d of worker %d: %w", e.seq, e.worker, err))
	}
}

// fail counts an error. The caller holds l.mu.
func (l *loader) fail(err error) {
	l.stats.Errors++
	if l.stats.FirstError == "" {
		l.stats.FirstError = fmt.Sprintf("%s: %v", time.Now().Format("15:04:05.000"), err)
	}
}

// verifyLimit is how long reading all entries through one endpoint may take. A
// group that elects a new leader meanwhile needs several seconds.
const verifyLimit = 20 * time.Second

// verify checks that every entry of the record is stored, as seen through
// each endpoint, and that a worker's entries were taken once and in order.
func verify(ctx context.Context, sys system, o *options) error {
	want, err := readRecord(o.record)
	if err != nil {
		return err
	}
	var errs []error
	for _, endpoint := range o.endpoints {
		got, err := readAll(ctx, sys.open, o, endpoint, verifyLimit)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", endpoint, err))
			continue
		}
		missing, first := 0, entry{}
		for _, e := range want {
			if !got[e] {
				if missing == 0 {
					first = e
				}
				missing++
			}
		}
		if missing > 0 {
			errs = append(errs, fmt.Errorf("%s: %d of %d acknowledged writes are missing, first worker %d seq %d",
				endpoint, missing, len(want), first.worker, first.seq))
			continue
		}
		if err := verifyOrder(ctx, sys, o, endpoint, want); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", endpoint, err))
			continue
		}
		fmt.Printf("%s: all of %d acknowledged writes are stored\n", endpoint, len(want))
	}
	return errors.Join(errs...)
}

// verifyOrder checks a system that tells the order. A worker waits for the end
// of one write before it begins the next. Only what was acknowledged counts: a
// write that the client gave up may be taken at any time later, or never.
func verifyOrder(ctx context.Context, sys system, o *options, endpoint string, acked []entry) error {
	ctx, cancel := context.WithTimeout(ctx, verifyLimit)
	defer cancel()
	st, err := sys.open(ctx, o, endpoint)
	if err != nil {
		return err
	}
	defer st.Close()
	c, ok := st.(chronicler)
	if !ok {
		return nil
	}
	order, err := c.Order(ctx)
	if err != nil {
		return err
	}
	known := map[entry]bool{}
	for _, e := range acked {
		known[e] = true
	}
	for worker, numbers := range order {
		last := uint64(0)
		for _, n := range numbers {
			if !known[entry{worker, n}] {
				continue
			}
			if n <= last {
				return fmt.Errorf("write %d of worker %d was taken after write %d", n, worker, last)
			}
			last = n
		}
	}
	return nil
}

// readRecord reads the acknowledged writes. A last line without its newline
// was being written when the file was copied and is left out.
func readRecord(name string) ([]entry, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var entries []entry
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return entries, nil
		}
		var e entry
		if _, err := fmt.Sscanf(line, "%d %d\n", &e.worker, &e.seq); err != nil {
			return nil, fmt.Errorf("%s: bad line %q: %w", name, line, err)
		}
		entries = append(entries, e)
	}
}
