//go:build linux

package faulttest

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/testcluster"
)

// kills is how many agents are killed at random moments, over all targets:
// PILOT_SOAK_KILLS, or a few.
func kills(t *testing.T) int {
	text := os.Getenv("PILOT_SOAK_KILLS")
	if text == "" {
		return 25
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("PILOT_SOAK_KILLS: %v", err)
	}
	return n
}

// batch is after how many kills a target is looked at thoroughly. A cluster is
// made anew then: the copy of what it has stored would take ever longer.
const batch = 200

// victimBatches is how many batches one victim lives through.
const victimBatches = 10

// targets are the victims and the real servers, with their shares of the kills:
// what can be looked at most closely gets most, and what takes longest least.
var targets = []struct {
	name    string
	percent int
}{
	{"c", 25}, {"go", 18}, {"java", 16},
	{string(testcluster.Etcd), 18}, {string(testcluster.Redis), 18}, {string(testcluster.ZooKeeper), 5},
}

// TestPrivSoak kills agents at random moments of their lives, from the start to
// the end of what an undisturbed run takes.
func TestPrivSoak(t *testing.T) {
	privileged(t)
	total := kills(t)
	stop := make(chan struct{})
	defer close(stop)
	go hiccup.watch(stop)
	done := make([]tally, len(targets))
	t.Run("targets", func(t *testing.T) {
		for i, target := range targets {
			done[i].target = target.name
			t.Run(target.name, func(t *testing.T) {
				t.Parallel()
				seed := uint64(time.Now().UnixNano())
				t.Logf("seed %d", seed)
				// Rounded up, so that the sum is never less than was asked for.
				share := (total*target.percent + 99) / 100
				(&killer{tally: &done[i], random: rand.New(rand.NewPCG(seed, 0)), share: share}).soak(t)
			})
		}
	})
	var all tally
	for i := range done {
		d := &done[i]
		fmt.Printf("soak: %s\n", d)
		all.kills += d.kills
		all.deviations += d.deviations
	}
	fmt.Printf("soak: %d agents killed, %d deviations\n", all.kills, all.deviations)
}

// hiccups measures how long the test, which nobody pilots, was kept waiting: a
// deviation on a machine that stands still tells nothing of pilot.
type hiccups struct{ worst atomic.Pointer[time.Duration] }

// hiccup is the measure of this process.
var hiccup hiccups

// watch measures until stop is closed, and forgets every 20 seconds.
func (h *hiccups) watch(stop <-chan struct{}) {
	const nap, memory = 10 * time.Millisecond, 20 * time.Second
	worst, since := new(time.Duration), time.Now()
	h.worst.Store(worst)
	for {
		begin := time.Now()
		select {
		case <-stop:
			return
		case <-time.After(nap):
		}
		late := time.Since(begin) - nap
		if time.Since(since) > memory || late > *worst {
			worst, since = &late, time.Now()
			h.worst.Store(worst)
		}
	}
}

// A tally is what became of the kills of one target.
type tally struct {
	target     string
	kills      int
	early      int // the run had ended before its kill
	deviations int
	phases     map[string]int // where the agents were killed
	undisturbed
}

// undisturbed are the runs between the kills.
type undisturbed struct {
	runs int
	took time.Duration // the last one
}

func (d *tally) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-5s %5d killed, %d runs had ended, %d undisturbed runs (the last took %v), %d deviations; killed in:",
		d.target, d.kills, d.early, d.runs, d.took.Round(time.Millisecond), d.deviations)
	for _, phase := range slices.Sorted(maps.Keys(d.phases)) {
		fmt.Fprintf(&b, " %s %d", phase, d.phases[phase])
	}
	return b.String()
}

// A killer kills the agents of one target.
type killer struct {
	*tally
	random *rand.Rand
	share  int
	// span is within which time of its start an agent is killed. It follows the
	// length of a run as the machine gets busier or less: about one run in six
	// ends before its kill, so that the last moments of a run have theirs too.
	span time.Duration
}

// follow adapts the span to whether the run had ended before its kill.
func (k *killer) follow(ended bool) {
	if ended {
		k.span = max(k.span*95/100, 20*time.Millisecond)
		return
	}
	k.span = min(k.span*101/100, patience/2)
}

// soak kills until the target has had its share. It goes on after a deviation,
// with new processes.
func (k *killer) soak(t *testing.T) {
	k.phases = map[string]int{}
	for was := -1; was < k.kills && k.kills < k.share; {
		was = k.kills
		t.Run(fmt.Sprint("from kill ", k.kills), k.stage)
	}
}

// stage starts the target and kills some agents.
func (k *killer) stage(t *testing.T) {
	found := k.deviations
	defer func() {
		if t.Failed() && k.deviations == found {
			k.deviations++ // told by the test itself
		}
		fmt.Printf("soak: %s\n", k.tally)
	}()
	if !slices.Contains(kinds, k.target) {
		s, finish := stageCluster(t, testcluster.Kind(k.target))
		k.batch(t, s)
		for _, problem := range finish() {
			k.deviation(t, "%s", problem)
		}
		return
	}
	s := stageVictims(t, k.target)
	for range victimBatches {
		if k.batch(t, s); t.Failed() || k.kills >= k.share {
			return
		}
	}
}

// deviation reports a difference in production, and counts it.
func (k *killer) deviation(t *testing.T, format string, args ...any) {
	t.Helper()
	k.deviations++
	fmt.Printf("soak: %s: DEVIATION after %d kills: %s (the test itself once waited %v too long)\n",
		k.target, k.kills, fmt.Sprintf(format, args...), *hiccup.worst.Load())
	t.Errorf(format, args...)
}

// batch makes an undisturbed run, some kills, and another such run.
func (k *killer) batch(t *testing.T, s *scene) {
	t.Helper()
	k.undisturbed.run(t, s)
	k.span = k.took
	for until := min(k.share, k.kills+batch); k.kills < until; {
		if k.killOnce(t, s); t.Failed() {
			return
		}
	}
	k.undisturbed.run(t, s)
	k.inspect(t, s, false)
}

func (u *undisturbed) run(t *testing.T, s *scene) {
	t.Helper()
	begin := time.Now()
	s.pilot(t, "an undisturbed run")
	u.runs, u.took = u.runs+1, time.Since(begin)
}

// killOnce kills one agent, at any moment of a run.
func (k *killer) killOnce(t *testing.T, s *scene) {
	t.Helper()
	before := s.rounds()
	moment := time.Duration(k.random.Int64N(int64(k.span)))
	r := start(t, request{Spec: s.spec(), Dir: s.dir})
	time.Sleep(moment) // the moment is what is tested
	r.kill()
	e := r.wait(t)
	if !e.killed {
		if k.early++; e.Err == "" {
			k.follow(true)
		} else {
			t.Logf("a run gave up: %s", e.Err)
		}
		if len(e.Left) > 0 {
			k.deviation(t, "left behind: %v", e.Left)
		}
		return
	}
	k.follow(false)
	k.kills++
	k.phases[cmp.Or(e.phase, "start")]++
	k.inspect(t, s, true)
	if k.kills%10 == 0 {
		s.busy(t, before)
	}
}

// inspect wants production as it was.
func (k *killer) inspect(t *testing.T, s *scene, arena bool) {
	t.Helper()
	for i, c := range s.usual {
		strange := c.lasting(arena)
		for key, value := range strange {
			k.deviation(t, "%s has %s: %s", s.members[i].Name, key, value)
		}
		if len(strange) > 0 {
			t.Logf("it stands so:\n%s", standing(c.pid))
		}
	}
	for _, v := range s.victims {
		if wrong := v.wrong(); wrong != "" {
			k.deviation(t, "the victim finds: %s", wrong)
		}
	}
	for _, m := range s.members {
		for _, trace := range traces(m.PID, arena) {
			k.deviation(t, "%s has %s", m.Name, trace)
		}
	}
}

// traces waits until nothing of pilot is in a process, and tells what stays.
func traces(pid int, arena bool) (out []string) {
	for deadline := time.Now().Add(settled); ; time.Sleep(2 * time.Millisecond) {
		out = tracesNow(pid, arena)
		if len(out) == 0 || time.Now().After(deadline) {
			return out
		}
	}
}

func tracesNow(pid int, arena bool) (out []string) {
	stat, err := procfs.ReadStat(pid)
	if err != nil || stat.State == 'Z' {
		return []string{fmt.Sprintf("ended: %v", err)}
	}
	if tracer := procfs.Tracer(pid); tracer != 0 {
		out = append(out, fmt.Sprintf("a tracer: %d", tracer))
	}
	tids, _ := procfs.Tasks(pid)
	for _, tid := range tids {
		if s, err := procfs.ReadTaskStatus(pid, tid); err == nil && s.SigBlk>>32 == 1<<32-1 {
			out = append(out, fmt.Sprintf("a helper: thread %d", tid))
		}
	}
	children, _ := procfs.Children(pid)
	for _, child := range children {
		if s, err := procfs.ReadStat(child); err == nil && s.State == 'Z' {
			out = append(out, fmt.Sprintf("a zombie child: %d", child))
		}
	}
	vmas, err := procfs.Maps(pid)
	if err != nil {
		return append(out, err.Error())
	}
	for _, v := range vmas {
		if name := fmt.Sprintf("mapping %#x-%#x", v.Start, v.End); isArena(name) && !arena {
			out = append(out, name)
		}
	}
	return out
}

// stageCluster starts real servers with clients that write to them. finish
// ends the clients and checks their history.
func stageCluster(t *testing.T, kind testcluster.Kind) (s *scene, finish func() []string) {
	t.Helper()
	build.Lock() // one at a time takes what the other has built
	bin, err := testcluster.Build(t.Context(), kind)
	build.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	dir := tempDir(t)
	cluster, err := testcluster.Start(t.Context(), kind, filepath.Join(dir, "cluster"), bin, kind.DefaultSize())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Stop)
	load, err := cluster.StartLoad(t.Context(), testcluster.LoadConfig{Rate: 60})
	if err != nil {
		t.Fatal(err)
	}
	status, err := cluster.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s = &scene{dir: filepath.Join(dir, "run"), pause: 400 * time.Millisecond}
	for _, m := range cluster.Members {
		s.members = append(s.members, model.Member{Name: m.Name, PID: m.PID, Args: m.Args, Data: []string{m.Data, m.Log}})
	}
	return s, func() []string { return history(t, cluster, load, status) }
}

var build sync.Mutex

// history ends the load, and tells what its clients would not have seen without
// pilot: a lost write, one out of order, an error, an election.
func history(t *testing.T, c *testcluster.Cluster, load *testcluster.Load, before testcluster.Status) (problems []string) {
	t.Helper()
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	after, err := c.Status(t.Context())
	if err != nil {
		problem("status: %v", err)
	}
	if after.Election != before.Election {
		problem("there was an election: %q, then %q", before.Election, after.Election)
	}
	stats, err := load.Stop()
	if err != nil {
		problem("load: %v", err)
	}
	if stats.Errors > 0 || stats.Losses > 0 {
		problem("clients saw %d errors (first: %s) and %d lost sessions", stats.Errors, stats.FirstError, stats.Losses)
	}
	if stats.Acked == 0 {
		problem("no write was acknowledged")
	}
	if err := c.Verify(t.Context(), load.Record); err != nil {
		problem("writes were lost, or taken out of order: %v", err)
	}
	fmt.Printf("soak: %s: %d writes acknowledged, slowest %.0f ms\n", c.Kind, stats.Acked, stats.MaxLatencyMS)
	return problems
}
