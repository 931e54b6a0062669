//go:build linux

package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/pilotexec/pilot/internal/injury"
	"github.com/pilotexec/pilot/internal/model"
	"golang.org/x/sys/unix"
)

// injuryPoll is how often logs and files are looked at.
const injuryPoll = 10 * time.Millisecond

// injuries makes the second failures in one trial. The nil one has none to make.
type injuries struct {
	s     *side
	ended chan struct{} // closed when the action has
	stop  context.CancelFunc
	wg    sync.WaitGroup

	mu  sync.Mutex // guards what follows
	all []model.Injured
}

// injure begins to wait for the moments of all second failures. The action begins
// now.
func (r *round) injure(ctx context.Context, s *side) {
	if len(r.spec.AlsoFail) == 0 {
		return
	}
	j := &injuries{s: s, ended: make(chan struct{})}
	ctx, j.stop = context.WithCancel(ctx)
	for n, i := range r.spec.AlsoFail {
		j.all = append(j.all, model.Injured{Injury: i})
		m, err := injury.MomentOf(i)
		sign := j.sign(m) // before the action can give it
		j.wg.Go(func() {
			made := model.Injured{Injury: i}
			if err == nil {
				err = j.await(ctx, m, sign)
			}
			if err == nil {
				err = j.make(ctx, &made)
			}
			if err != nil {
				made.Err = err.Error()
			}
			j.mu.Lock()
			defer j.mu.Unlock()
			j.all[n] = made
		})
	}
	s.injuries = j
}

// acted tells that the action has ended.
func (j *injuries) acted() {
	if j != nil {
		close(j.ended)
	}
}

// finish waits for no moment any more, and returns what became of each.
func (j *injuries) finish() []model.Injured {
	if j == nil {
		return nil
	}
	j.stop()
	j.wg.Wait()
	return j.all
}

// make does i, and takes it back.
func (j *injuries) make(ctx context.Context, i *model.Injured) error {
	switch i.Kind {
	case model.InjuryPartition:
		return j.last(ctx, i, func() (lasting, error) { return j.s.watch.Cut(i.Member) })
	case model.InjurySlowDisk:
		return j.last(ctx, i, func() (lasting, error) { return j.s.watch.Slow(i.Member) })
	case model.InjuryDiskFull:
		return j.last(ctx, i, func() (lasting, error) { return j.s.watch.Fill(i.Member) })
	}
	at := time.Since(j.s.world.Released)
	var err error
	if i.Kind == model.InjuryKill {
		i.PIDs, err = j.s.watch.Kill(i.Member)
	} else {
		i.PIDs, err = j.s.watch.Signal(i.Member, unix.SIGSTOP)
	}
	if err != nil {
		return err
	}
	if len(i.PIDs) == 0 {
		return errNobody(i.Member)
	}
	i.At = at
	if i.For == 0 {
		return nil
	}
	select {
	case <-time.After(i.For):
	case <-ctx.Done(): // the watching ends: what was asked for is cut short
	}
	_, err = j.s.watch.Signal(i.Member, unix.SIGCONT)
	i.Until = time.Since(j.s.world.Released)
	return err
}

func errNobody(member string) error {
	return fmt.Errorf("no process of %s ran at that moment", member)
}

// refresh is how often a failure that lasts learns of new processes and sockets.
const refresh = 100 * time.Millisecond

// A lasting failure is there until it is healed.
type lasting interface {
	PIDs() []int
	Refresh() error
	Heal() error
}

// last makes a failure, until it is over or the watching ends.
func (j *injuries) last(ctx context.Context, i *model.Injured, begin func() (lasting, error)) (err error) {
	c, err := begin()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Heal()) }()
	if len(c.PIDs()) == 0 {
		return errNobody(i.Member)
	}
	i.At, i.PIDs = time.Since(j.s.world.Released), c.PIDs()
	var over <-chan time.Time // never
	if i.For > 0 {
		over = time.After(i.For)
	}
	tick := time.NewTicker(refresh)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-over:
			i.Until = time.Since(j.s.world.Released)
			return nil
		case <-tick.C:
			if err := c.Refresh(); err != nil {
				return err
			}
		}
	}
}

// errNoMoment means that the watching ended first.
var errNoMoment = errors.New("its moment did not come")

// sign returns what tells, asked again and again, whether the moment has come,
// or nil for one that needs no asking.
func (j *injuries) sign(m injury.Moment) func() bool {
	switch {
	case m.Log != nil:
		t := newTail(j.s)
		return func() bool { return t.finds(m.Log.Match) }
	case m.File != "":
		path := fmt.Sprintf("/proc/%d/root%s", j.s.world.Init().PID(), m.File)
		before := lookAt(path)
		return func() bool { return lookAt(path) != before }
	}
	return nil
}

// await returns at the moment.
func (j *injuries) await(ctx context.Context, m injury.Moment, sign func() bool) error {
	var now, tick <-chan time.Time
	var done <-chan struct{}
	switch {
	case m.Done:
		done = j.ended
	case sign != nil:
		t := time.NewTicker(injuryPoll)
		defer t.Stop()
		tick = t.C
	default:
		now = time.After(m.After)
	}
	for {
		select {
		case <-ctx.Done():
			return errNoMoment
		case <-now:
			return nil
		case <-done:
			return nil
		case <-tick:
			if sign() {
				return nil
			}
		}
	}
}

// look is what a file is told to have changed by.
type look struct {
	there bool
	size  int64
	mtime time.Time
	ino   uint64
}

func lookAt(path string) look {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return look{}
	}
	return look{true, st.Size, time.Unix(st.Mtim.Unix()), st.Ino}
}

// A tail reads the lines that are added to the logs of a world.
type tail struct {
	lines []*bufio.Reader
	part  [][]byte // of a line that has no end yet
}

// newTail begins at the ends of the logs of all members.
func newTail(s *side) *tail {
	t := &tail{}
	seen := map[string]bool{}
	for _, m := range s.world.Members() {
		for _, path := range []string{s.world.Log(m.Name), s.world.MemberLog(m.Name)} {
			if seen[path] {
				continue
			}
			seen[path] = true
			f, err := os.Open(path)
			if err != nil {
				continue // it logs elsewhere
			}
			_, _ = f.Seek(0, io.SeekEnd)
			t.lines, t.part = append(t.lines, bufio.NewReader(f)), append(t.part, nil) // closed when it is collected
		}
	}
	return t
}

// finds reports whether a line was added that matches.
func (t *tail) finds(match func([]byte) bool) bool {
	for i, r := range t.lines {
		for {
			line, err := r.ReadBytes('\n')
			t.part[i] = append(t.part[i], line...)
			if err != nil {
				break
			}
			if match(t.part[i]) {
				return true
			}
			t.part[i] = t.part[i][:0]
		}
	}
	return false
}
