//go:build linux

package membertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/agent"
	"github.com/pilotexec/pilot/internal/capture"
	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/image"
	"github.com/pilotexec/pilot/internal/live"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/observe"
	"github.com/pilotexec/pilot/internal/osthread"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/spawn"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/testenv"
	"github.com/pilotexec/pilot/internal/victim"
	"golang.org/x/sys/unix"
)

// The tracer must not be the parent of its tracees, so the test binary is
// executed again under this name.
const agentName = "pilot-membertest-agent"

// request is what the test tells its agent.
type request struct {
	Members []model.Member
	Dir     string
	// Doctor asks for diagnoses only, Take for a snapshot without a check.
	Doctor, Take bool
	// Action asks for a whole run, and with Series for several. Controls is the
	// spec's.
	Action   []string
	Series   *model.Series
	Controls int
	// Typed is typed to the action, which is a shell if it is not empty.
	Typed string
	// Fault strikes the snapshot and the worlds. Diary is a file that tells of it.
	Fault fault.Injection
	Diary string
	// Drop are capabilities that the agent shall not have.
	Drop []int
}

// outcome is what the agent tells.
type outcome struct {
	Problems  []string
	Pause     model.Pause
	Diagnoses []model.Diagnosis
	Report    *model.Report
	Reports   []*model.Report // of a series
}

func (o *outcome) problem(format string, args ...any) {
	o.Problems = append(o.Problems, fmt.Sprintf(format, args...))
}

// refusals are those of all diagnoses.
func (o outcome) refusals() (out []model.Refusal) {
	for _, d := range o.Diagnoses {
		out = append(out, d.Refusals...)
	}
	return out
}

func init() {
	if os.Args[0] == agentName {
		runtime.LockOSThread() // main stays on the first thread, which /proc shows as the process
	}
}

func agentMain() {
	var req request
	if err := json.NewDecoder(os.Stdin).Decode(&req); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var o outcome
	err := sys.DropCaps(req.Drop)
	if err != nil {
		o.problem("drop capabilities: %v", err)
	}
	if len(req.Action) > 0 {
		o.run(req)
	} else if o.Diagnoses, err = (agent.Engine{}).Doctor(context.Background(), model.Spec{Members: req.Members}); err != nil {
		o.problem("doctor: %v", err)
	}
	if !req.Doctor && len(req.Action) == 0 {
		if refusals := o.refusals(); len(refusals) > 0 && !req.Take {
			o.problem("doctor: %v", &model.RefusedError{Refusals: refusals})
		} else {
			if req.Diary != "" {
				fault.Arm(func(fault.Injection) { _ = os.WriteFile(req.Diary, nil, 0o600) }, req.Fault)
			}
			o.fork(context.Background(), req)
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(o); err != nil {
		os.Exit(1)
	}
}

// run pilots an action.
func (o *outcome) run(req request) {
	spec := model.Spec{
		Trace:   model.TraceEffects,
		Members: req.Members, Action: req.Action, Dir: "/", Env: os.Environ(),
		MaxPause: 500 * time.Millisecond, Timeout: testenv.Patience, Settle: 100 * time.Millisecond, Controls: req.Controls,
	}
	ctx := context.Background()
	if spec.Shell = req.Typed != ""; spec.Shell {
		steer := &live.Steer{}
		steer.SetTerminal(newScript(req.Typed))
		ctx = live.With(ctx, steer)
	}
	var err error
	if req.Series != nil {
		told := func(r *model.Report) { o.Reports = append(o.Reports, r) }
		if err = (agent.Engine{}).Series(ctx, spec, *req.Series, req.Dir, func(string, string) {}, told); err != nil {
			o.problem("series: %v", err)
		}
		return
	}
	if o.Report, err = (agent.Engine{}).Run(ctx, spec, req.Dir, func(string, string) {}); err != nil {
		o.problem("run: %v", err)
	}
}

// fork is the agent's part: snapshot, two worlds, and a look at them.
func (o *outcome) fork(ctx context.Context, req request) {
	var data []string
	for _, m := range req.Members {
		data = append(data, m.Data...)
	}
	im, err := image.Prepare(ctx, filepath.Join(req.Dir, "image"), data)
	if err != nil {
		o.problem("copy: %v", err)
		return
	}
	tracer := osthread.New()
	defer tracer.Close()
	var snap *capture.Snapshot
	err = tracer.Do(func() (err error) {
		snap, err = capture.Take(ctx, capture.Config{Members: req.Members, MaxPause: 500 * time.Millisecond, Image: im})
		return err
	})
	if err != nil {
		o.problem("snapshot: %v", err)
		return
	}
	defer func() {
		if err := tracer.Do(snap.Close); err != nil {
			o.problem("close snapshot: %v", err)
		}
	}()
	o.Pause = snap.Pause
	for _, name := range []string{"trial", "control"} {
		w, err := spawn.New(ctx, tracer, snap, spawn.Config{
			Name: name, Dir: filepath.Join(req.Dir, name), Members: req.Members, Outside: os.Getppid(),
		})
		if err != nil {
			o.problem("spawn: %v", err)
			return
		}
		o.world(w, req, snap)
	}
}

// world looks at a world, lets it run, looks again and ends it.
func (o *outcome) world(w *spawn.World, req request, snap *capture.Snapshot) {
	var watch *observe.Watch
	defer func() {
		if err := w.Close(); err != nil {
			o.problem("close world %s: %v", w.Name, err)
		}
		if watch != nil {
			watch.Wait()
		}
	}()
	if err := w.Wake(spawn.Opening(w)); err != nil {
		o.problem("wake: %v", err)
		return
	}
	for _, ph := range w.Phantoms() {
		o.compare(ph, false, snap)
	}
	o.owners(w)
	if err := w.Release(); err != nil {
		o.problem("release %s: %v", w.Name, err)
	}
	watch = observe.New(w)
	for i, m := range req.Members {
		for _, r := range w.Tree.Roots {
			if r.Source == m.Data[0] {
				o.follow(w.Name, m, filepath.Join(r.Path, victim.Log), w, watch, i)
			}
		}
	}
	for _, ph := range w.Phantoms() {
		o.compare(ph, true, snap)
	}
}

// follow waits until a phantom has done its rounds.
func (o *outcome) follow(world string, m model.Member, log string, w *spawn.World, watch *observe.Watch, i int) {
	cut, _ := progress(log)
	for deadline := time.Now().Add(testenv.Patience); ; time.Sleep(2 * time.Millisecond) {
		n, bad := progress(log)
		if len(bad) > 0 {
			o.problem("%s: phantom of %s: %s", world, m.Name, bad[0])
			return
		}
		if n >= cut+rounds {
			return
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(w.Log(m.Name))
			o.problem("%s: phantom of %s has done %d rounds only; it says %q", world, m.Name, n-cut, text)
			return
		}
		for _, p := range watch.Processes() {
			if p.Exit != nil && p.Member == m.Name {
				o.problem("%s: phantom of %s ended: %+v %v", world, m.Name, *p.Exit, p.Output)
				return
			}
		}
	}
}

// compare wants each thread of the phantom to be who its origin's is. Before
// the release its filters are suspended, but installed.
func (o *outcome) compare(ph spawn.Phantom, running bool, snap *capture.Snapshot) {
	tids, err := procfs.Tasks(ph.Member.PID)
	if err != nil {
		o.problem("%v", err)
		return
	}
	theirs, err := procfs.Tasks(ph.HostPID)
	if err != nil {
		o.problem("%v", err)
		return
	}
	origins := map[int]int{} // by what they are to themselves
	for _, tid := range tids {
		if s, err := procfs.ReadTaskStatus(ph.Member.PID, tid); err == nil {
			origins[s.NSpid[len(s.NSpid)-1]] = tid
		}
	}
	same := 0
	for _, tid := range theirs {
		got, err := procfs.ReadTaskStatus(ph.HostPID, tid)
		if err != nil {
			continue
		}
		number := got.NSpid[len(got.NSpid)-1]
		origin, known := origins[number]
		if !known {
			continue // born after the cut, or ended since
		}
		want, err := procfs.ReadTaskStatus(ph.Member.PID, origin)
		if err != nil {
			continue
		}
		same++
		if got.Seccomp != unix.SECCOMP_MODE_FILTER || got.SeccompFilters != want.SeccompFilters+1 {
			o.problem("%s thread %d (running %v) has %d filters, its origin %d: the world's is to be added",
				ph.Member.Name, number, running, got.SeccompFilters, want.SeccompFilters)
		}
		if g, w := identityOf(got), identityOf(want); g != w {
			o.problem("%s thread %d (running %v) is\n%s\nits origin\n%s\nand was, in the snapshot,\n%s",
				ph.Member.Name, number, running, g, w, captured(snap, ph.Member.PID, origin))
		}
	}
	if same < 3 {
		o.problem("%s: only %d threads were compared", ph.Member.Name, same)
	}
	got, gerr := ownerOf(fmt.Sprintf("/proc/%d/status", ph.HostPID))
	want, werr := ownerOf(fmt.Sprintf("/proc/%d/status", ph.Member.PID))
	if gerr != nil || werr != nil || got != want { // tells whether it is dumpable, proc(5)
		o.problem("%s: /proc belongs to %v (%v), of the origin to %v (%v)", ph.Member.Name, got, gerr, want, werr)
	}
}

// captured is who a thread was in the snapshot.
func captured(snap *capture.Snapshot, pid, tid int) string {
	for _, p := range snap.Processes {
		if s, ok := p.Status[tid]; ok && p.Member.PID == pid {
			return identityOf(s)
		}
	}
	return "not there"
}

func identityOf(s procfs.Status) string {
	return fmt.Sprintf("uid %v gid %v groups %v inh %#x prm %#x eff %#x bnd %#x amb %#x nnp %v",
		s.UIDs, s.GIDs, s.Groups, victim.Keeps(s.CapInh), victim.Keeps(s.CapPrm), victim.Keeps(s.CapEff), victim.Keeps(s.CapBnd), victim.Keeps(s.CapAmb),
		s.NoNewPrivs)
}

type owner struct{ uid, gid uint32 }

func ownerOf(path string) (owner, error) {
	fi, err := os.Lstat(path)
	if err != nil {
		return owner{}, err
	}
	st := fi.Sys().(*syscall.Stat_t)
	return owner{st.Uid, st.Gid}, nil
}

// owners wants copies of data to have owners and modes of the originals.
func (o *outcome) owners(w *spawn.World) {
	seen := 0
	for _, r := range w.Tree.Roots {
		err := filepath.WalkDir(r.Path, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			source := r.Source + strings.TrimPrefix(path, r.Path)
			want, err := ownerOf(source)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			got, gerr := ownerOf(path)
			a, aerr := os.Lstat(path)
			b, berr := os.Lstat(source)
			if err := errors.Join(err, gerr, aerr, berr); err != nil {
				return err
			}
			if got != want || a.Mode() != b.Mode() {
				o.problem("%s is of %v, %v; the original of %v, %v", path, got, a.Mode(), want, b.Mode())
			}
			seen++
			return nil
		})
		if err != nil {
			o.problem("%v", err)
		}
	}
	if seen < 2 {
		o.problem("only %d files were compared", seen)
	}
}
