//go:build linux

// Package e2e forks real clusters under load and compares the fork with what
// it was forked from.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/capture"
	"github.com/pilotexec/pilot/internal/image"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/observe"
	"github.com/pilotexec/pilot/internal/osthread"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/spawn"
	"github.com/pilotexec/pilot/internal/testcluster"
	"github.com/pilotexec/pilot/internal/testenv"
	"github.com/pilotexec/pilot/internal/tracee"
	"github.com/pilotexec/pilot/internal/worldinit"
)

func TestMain(m *testing.M) {
	worldinit.Reexec()
	if os.Args[0] == agentName {
		agentMain()
		return
	}
	if len(os.Args) == 3 && os.Args[1] == dialVerb {
		if _, err := net.Dial("unix", os.Args[2]); err != nil {
			fmt.Println(err)
			os.Exit(0)
		}
		os.Exit(1)
	}
	if len(os.Args) == 2 && os.Args[1] == mapVerb {
		if _, err := syscall.Mmap(3, 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("mapped")
		time.Sleep(10 * time.Minute) // it is killed before
	}
	os.Exit(m.Run())
}

// mapVerb makes the test binary map descriptor 3, shared and writable, and wait.
const mapVerb = "map-forever"

// dialVerb makes the test binary dial a unix socket, and succeed if it cannot.
const dialVerb = "cannot-dial"

// The agent must not be the parent of the processes that it traces, since waits
// of the same process would take each other's events. So forking is done by the
// test binary, executed again under this name.
const agentName = "pilot-e2e-agent"

// request is what the test tells its agent.
type request struct {
	Members                []model.Member
	Data                   []string
	Dir, WorkDir           string
	Health, Verify, Status []string
	Load                   []string // writes under a prefix of its own, until it is ended
	Foreign                []string // counts what Load has written
	Election               string
}

func agentMain() {
	var req request
	if err := json.NewDecoder(os.Stdin).Decode(&req); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(fork(context.Background(), req)); err != nil {
		os.Exit(1)
	}
}

// forks is how often each cluster is forked: PILOT_FORKS, or a few.
func forks() int {
	if n, err := strconv.Atoi(os.Getenv("PILOT_FORKS")); err == nil {
		return n
	}
	return 3
}

func TestPrivForkEtcd(t *testing.T)      { testFork(t, testcluster.Etcd) }
func TestPrivForkNATS(t *testing.T)      { testFork(t, testcluster.NATS) }
func TestPrivForkZooKeeper(t *testing.T) { testFork(t, testcluster.ZooKeeper) }
func TestPrivForkRedis(t *testing.T)     { testFork(t, testcluster.Redis) }
func TestPrivForkKafka(t *testing.T)     { testFork(t, testcluster.Kafka) }

// underLoad starts a cluster with clients that write to it, in a directory of
// its own. All of it ends with the test.
func underLoad(t *testing.T, kind testcluster.Kind) (dir string, cluster *testcluster.Cluster, load *testcluster.Load) {
	t.Helper()
	testenv.Privileged(t)
	bin, err := testcluster.Build(t.Context(), kind)
	if err != nil {
		t.Fatal(err)
	}
	dir = publicDir(t)
	cluster, err = testcluster.Start(t.Context(), kind, filepath.Join(dir, "cluster"), bin, kind.DefaultSize())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Stop)
	load, err = cluster.StartLoad(t.Context(), testcluster.LoadConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if kind == testcluster.Kafka {
		warmUp(t)
	}
	return dir, cluster, load
}

// warmUp waits until half of the host's processors is idle, for a time: three Java
// machines that have just been started take all of them, to compile their code.
func warmUp(t *testing.T) {
	t.Helper()
	last, err := procfs.ReadProcessors()
	for deadline := time.Now().Add(time.Minute); err == nil && time.Now().Before(deadline); {
		time.Sleep(2 * time.Second)
		var now procfs.Processors
		now, err = procfs.ReadProcessors()
		if now.Idle-last.Idle > (now.Total-last.Total)/2 {
			return
		}
		last = now
	}
	if err != nil {
		t.Fatal(err)
	}
}

// untouched ends the load, and requires that production had no election since
// before and that its clients saw nothing.
func untouched(t *testing.T, c *testcluster.Cluster, load *testcluster.Load, before testcluster.Status) testcluster.LoadStats {
	t.Helper()
	after, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if after.Election != before.Election {
		t.Errorf("production had an election: %q, then %q", before.Election, after.Election)
	}
	stats, err := load.Stop()
	if err != nil {
		t.Fatal(err)
	}
	if stats.Errors > 0 || stats.Losses > 0 {
		t.Errorf("production's clients saw %d errors (first: %s) and %d lost sessions", stats.Errors, stats.FirstError, stats.Losses)
	}
	return stats
}

// outcome is one fork.
type outcome struct {
	Pause    model.Pause
	Spawn    time.Duration
	Ahead    time.Duration // by how much the fork's wall clock jumped
	Elected  bool          // the fork, or production, had an election
	Lost     int           // connections between members that the fork lost
	Missing  bool          // an acknowledged write is missing in the fork
	Problems []string
}

func testFork(t *testing.T, kind testcluster.Kind) {
	ctx := t.Context()
	dir, cluster, load := underLoad(t, kind)
	time.Sleep(time.Second) // something to fork
	before, err := cluster.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var outcomes []outcome
	n := forks()
	if kind == testcluster.Kafka {
		n = min(n, 3) // three JVMs take seconds to look at
	}
	for i := range n {
		o := forkOnce(t, cluster, load, filepath.Join(dir, fmt.Sprintf("fork%d", i)), before)
		outcomes = append(outcomes, o)
		for _, p := range o.Problems {
			t.Errorf("fork %d: %s", i, p)
		}
	}
	stats := untouched(t, cluster, load, before)
	foreign, err := statusOf(ctx, append(cluster.StatusCommand(), "-prefix", forkPrefix))
	if err != nil {
		t.Fatal(err)
	}
	if foreign.Keys > 0 {
		t.Errorf("%d writes of forks are in production", foreign.Keys)
	}
	if err := cluster.Verify(ctx, load.Record); err != nil {
		t.Errorf("production lost writes: %v", err)
	}
	for _, m := range cluster.Members {
		for _, trace := range traces(m.PID) {
			t.Errorf("%s: left behind: %s", m.Name, trace)
		}
	}
	report(t, kind, outcomes, stats)
}

// traces tells what of pilot is in a process of production.
func traces(pid int) (out []string) {
	vmas, err := procfs.Maps(pid)
	if err != nil {
		return []string{err.Error()}
	}
	for _, v := range vmas {
		if v.Start>>28 == uint64(tracee.ArenaHint)>>28 {
			out = append(out, fmt.Sprintf("mapping %#x-%#x", v.Start, v.End))
		}
	}
	tids, err := procfs.Tasks(pid)
	if err != nil {
		return append(out, err.Error())
	}
	for _, tid := range tids {
		if s, err := procfs.ReadStatus(tid); err == nil && s.TracerPID != 0 {
			out = append(out, fmt.Sprintf("thread %d is traced by %d", tid, s.TracerPID))
		}
	}
	return out
}

func statusOf(ctx context.Context, command []string) (testcluster.Status, error) {
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).Output()
	if err != nil {
		return testcluster.Status{}, fmt.Errorf("%v: %w", command, err)
	}
	return testcluster.ParseStatus(out)
}

// forkOnce lets the agent fork the cluster and look at the fork.
func forkOnce(t *testing.T, c *testcluster.Cluster, load *testcluster.Load, dir string, before testcluster.Status) (o outcome) {
	t.Helper()
	req := request{
		Dir: dir, WorkDir: c.Dir, Election: before.Election,
		Health: c.HealthCommand(), Status: c.StatusCommand(),
		Foreign: append(c.StatusCommand(), "-prefix", forkPrefix),
	}
	// The same client, with another verb and other keys.
	req.Load = slices.Clone(req.Foreign)
	req.Load[slices.Index(req.Load, "status")] = "load"
	for _, m := range c.Members {
		req.Members = append(req.Members, model.Member{Name: m.Name, PID: m.PID, Args: m.Args, Data: []string{m.Data, m.Log}})
		req.Data = append(req.Data, m.Data, m.Log)
	}
	record := filepath.Join(c.Dir, "cut")
	if _, err := load.Cut(record); err != nil {
		t.Fatal(err)
	}
	req.Verify = c.VerifyCommand(record)
	input, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{agentName}
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("agent: %v", err)
	}
	if err := json.Unmarshal(out, &o); err != nil {
		t.Fatalf("agent said %q: %v", out, err)
	}
	return o
}

// fork is the agent's part: snapshot, world, and questions to the world.
func fork(ctx context.Context, req request) (o outcome) {
	problem := func(format string, args ...any) { o.Problems = append(o.Problems, fmt.Sprintf(format, args...)) }
	defer os.RemoveAll(req.Dir)
	im, err := image.Prepare(ctx, filepath.Join(req.Dir, "image"), req.Data)
	if err != nil {
		problem("copy: %v", err)
		return o
	}
	tracer := osthread.New()
	defer tracer.Close()
	var snap *capture.Snapshot
	err = tracer.Do(func() (err error) {
		snap, err = capture.Take(ctx, capture.Config{Members: req.Members, MaxPause: 250 * time.Millisecond, Image: im})
		return err
	})
	if err != nil {
		problem("snapshot: %v", err)
		return o
	}
	defer func() {
		if err := tracer.Do(snap.Close); err != nil {
			problem("close snapshot: %v", err)
		}
	}()
	o.Pause = snap.Pause
	w, err := spawn.New(ctx, tracer, snap, spawn.Config{Name: "trial", Dir: filepath.Join(req.Dir, "trial"), Members: req.Members})
	if err != nil {
		problem("%v", err)
		return o
	}
	o.Spawn = w.Spawn
	if err := w.Wake(spawn.Opening(w)); err != nil {
		problem("wake: %v", err)
	} else if err := w.Release(); err != nil {
		problem("release: %v", err)
	}
	o.Ahead = w.WallAhead
	watch := observe.New(w)
	defer watch.Wait()
	defer func() {
		if err := w.Close(); err != nil {
			problem("close world: %v", err)
		}
	}()
	o.look(ctx, req, w, watch, problem)
	if dir := os.Getenv("PILOT_E2E_DUMP"); dir != "" && len(o.Problems) > 0 {
		dump(w, dir)
	}
	return o
}

// dump keeps what a failing fork's members say, with the stacks that Go and Java
// print on SIGQUIT.
func dump(w *spawn.World, dir string) {
	for _, ph := range w.Phantoms() {
		_ = syscall.Kill(ph.HostPID, syscall.SIGQUIT)
		time.Sleep(time.Second)
		for _, log := range []string{w.MemberLog(ph.Member.Name), w.Log(ph.Member.Name)} {
			if text, err := os.ReadFile(log); err == nil {
				name := fmt.Sprintf("%s-%s", ph.Member.Name, filepath.Base(log))
				_ = os.WriteFile(filepath.Join(dir, name), text, 0o644)
			}
		}
	}
}

// look asks the fork whether it is what production was.
func (o *outcome) look(ctx context.Context, req request, w *spawn.World, watch *observe.Watch, problem func(string, ...any)) {
	inWorld := func(name string, cmd []string) model.CommandResult {
		limited, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		return watch.Run(limited, name, cmd, os.Environ(), req.WorkDir, true)
	}
	if r := inWorld("health", req.Health); !r.OK() {
		problem("the fork is not healthy: %s", describe(r))
	}
	if r := inWorld("verify", req.Verify); !r.OK() {
		o.Missing = true
		problem("acknowledged writes are missing in the fork: %s", describe(r))
	}
	r := inWorld("status", req.Status)
	status, err := testcluster.ParseStatus([]byte(r.Output))
	if err != nil {
		problem("status: %v %s", err, describe(r))
	} else if status.Election != req.Election {
		o.Elected = true
		problem("the fork had an election: %q, then %q", req.Election, status.Election)
	}
	o.Lost = lostConnections(w)
	if o.Lost > 0 {
		problem("%d of %d connections between members were lost in the fork", o.Lost, o.Pause.Connections)
	}
	// The fork is written to, and must keep that to itself. The clients need long to
	// connect on a busy machine, which serves production first.
	written := 0
	for limit := 0.5; limit < 10 && written == 0; limit *= 2 {
		_ = inWorld("load", append([]string{"timeout", fmt.Sprint(limit)}, req.Load...))
		mine, err := testcluster.ParseStatus([]byte(inWorld("foreign", req.Foreign).Output))
		if err != nil {
			problem("status of the fork's own writes: %v", err)
			break
		}
		written = mine.Keys
	}
	if written == 0 {
		problem("the fork took no writes")
	}
	for _, p := range watch.Processes() {
		if p.Exit != nil {
			problem("%s ended in the fork: %+v %v", p.Member, p.Exit, p.Output)
		}
	}
}

// forkPrefix is that of keys which are written in forks only.
const forkPrefix = "fork"

// lostConnections counts the connections between members that production still
// has, and the world, which had them too, has no more. Members also close
// connections that were idle for a time, here as there.
func lostConnections(w *spawn.World) (lost int) {
	there, here := established(w.Init().PID()), established(os.Getpid())
	for _, c := range w.Connections() {
		key := v4(hexAddr(c[0])) + " " + v4(hexAddr(c[1]))
		if (here[key] || len(here) == 0) && !there[key] {
			lost++
		}
	}
	return lost
}

// established lists the TCP connections in a process's network namespace, each
// end as "LOCAL PEER".
func established(pid int) map[string]bool {
	found := map[string]bool{}
	for _, file := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, file))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) > 3 && f[3] == "01" { // TCP_ESTABLISHED
				found[v4(f[1])+" "+v4(f[2])] = true
			}
		}
	}
	return found
}

// hexAddr is an address as proc_pid_net(5) shows it.
func hexAddr(ap netip.AddrPort) string {
	a := ap.Addr().Unmap().AsSlice()
	var b strings.Builder
	for i := 0; i < len(a); i += 4 {
		fmt.Fprintf(&b, "%02X%02X%02X%02X", a[i+3], a[i+2], a[i+1], a[i])
	}
	return fmt.Sprintf("%s:%04X", b.String(), ap.Port())
}

// v4 strips the prefix of v4-mapped addresses.
func v4(addr string) string { return strings.TrimPrefix(addr, "0000000000000000FFFF0000") }

func describe(r model.CommandResult) string {
	if r.Exit == nil {
		return fmt.Sprintf("no end after %v, %s %s", r.Duration, r.Err, r.Output)
	}
	return fmt.Sprintf("exit %d %s after %v: %s", r.Exit.Code, r.Exit.Signal, r.Duration, r.Output)
}

// report prints one line for the table of forks.
func report(t *testing.T, kind testcluster.Kind, all []outcome, stats testcluster.LoadStats) {
	var total, files []time.Duration
	elections, lost := 0, 0
	for _, o := range all {
		total = append(total, o.Pause.Total)
		files = append(files, o.Pause.Total-o.Pause.Files)
		if o.Elected {
			elections++
		}
		lost += o.Lost
	}
	slices.Sort(total)
	slices.Sort(files)
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000) }
	last := all[len(all)-1].Pause
	line := fmt.Sprintf("%s: forks %d, elections %d, lost connections %d, pause ms min/median/max %s/%s/%s, without the files %s/%s/%s; threads %d objects %d connections %d+%d; acked %d max latency %.0f ms",
		kind, len(all), elections, lost, ms(total[0]), ms(total[len(total)/2]), ms(total[len(total)-1]),
		ms(files[0]), ms(files[len(files)/2]), ms(files[len(files)-1]),
		last.Threads, last.Objects, last.Connections, last.Outside, stats.Acked, stats.MaxLatencyMS)
	t.Log(line)
	if path := os.Getenv("PILOT_TABLE"); path != "" {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fmt.Fprintln(f, line)
	}
	for _, o := range all {
		t.Logf("  made in %v, wall clock ahead %v: %+v", o.Spawn, o.Ahead, o.Pause)
	}
}
