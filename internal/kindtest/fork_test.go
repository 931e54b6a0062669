//go:build linux

package kindtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/agent"
	"github.com/pilotexec/pilot/internal/capture"
	"github.com/pilotexec/pilot/internal/image"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/observe"
	"github.com/pilotexec/pilot/internal/osthread"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/spawn"
	"github.com/pilotexec/pilot/internal/victim"
	"github.com/pilotexec/pilot/internal/worldinit"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	worldinit.Reexec()
	if len(os.Args) == 4 && os.Args[1] == visitVerb {
		visit(os.Args[2], os.Args[3])
	}
	switch os.Args[0] {
	case victim.Name:
		victim.Main()
	case agentName:
		agentMain()
	default:
		code := m.Run()
		if left := leftovers(); len(left) > 0 && code == 0 {
			fmt.Fprintln(os.Stderr, "left behind:", left)
			code = 1
		}
		os.Exit(code)
	}
}

// leftovers names what tests of this process have left: processes and files.
func leftovers() (out []string) {
	out, _ = filepath.Glob("/var/tmp/" + prefix + "*")
	tasks, _ := procfs.Tasks(os.Getpid())
	for _, tid := range tasks {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", tid))
		for pid := range strings.FieldsSeq(string(children)) {
			out = append(out, "process "+pid)
		}
	}
	return out
}

// The tracer must not be the parent of its tracees, so the test binary is
// executed again under this name.
const agentName = "pilot-kindtest-agent"

// prefix begins the names of this process's directories in /var/tmp.
var prefix = fmt.Sprintf("pilot-kind-%d-", os.Getpid())

// rounds is how many rounds a victim must do before the fork, and both sides
// after it.
const rounds = 25

// patience bounds each wait.
const patience = 15 * time.Second

// A member is one victim of a test.
type member struct {
	kind    string
	files   []*os.File                       // its descriptors 3 and up
	stdout  *os.File                         // /dev/null when nil
	prepare func(s *scene, dir string) error // before it starts
}

// request is what the test tells its agent.
type request struct {
	Members []model.Member
	Dir     string
	Doctor  bool
	Run     *model.Spec // instead: a whole run, members added
}

// outcome is what the agent tells.
type outcome struct {
	Problems  []string
	Worlds    []*world
	Pause     model.Pause
	Diagnoses []model.Diagnosis
	Report    *model.Report
}

// A world is one of the two that are spawned from a test's snapshot.
type world struct {
	Name    string
	Logs    []string // of the phantoms
	Outputs []string // what went to their terminals
	AtCut   []int    // rounds in these logs at the cut
	Gaps    []model.Gap

	w     *spawn.World
	watch *observe.Watch
	files []string // the logs
}

// privileged skips t when processes cannot be forked here. Under
// PILOT_REQUIRE_PRIVILEGED it fails instead: green must mean that something ran.
func privileged(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("PILOT_REQUIRE_PRIVILEGED") != "" {
		t.Fatal("privileged test cannot run: not root")
	}
	t.Skip("needs root")
}

// A scene is the victims of one test in a network namespace of their own.
type scene struct {
	dir     string
	space   *osthread.Thread
	members []model.Member
	logs    []string
}

// stage starts the victims and waits until they are busy.
func stage(t *testing.T, members ...member) *scene {
	t.Helper()
	return newScene(t).play(t, members...)
}

func newScene(t *testing.T) *scene {
	t.Helper()
	privileged(t)
	dir, err := os.MkdirTemp("/var/tmp", prefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &scene{dir: dir, space: osthread.New()}
	t.Cleanup(s.space.Close)
	if err := s.space.Do(newNetwork); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *scene) play(t *testing.T, members ...member) *scene {
	t.Helper()
	for i, m := range members {
		s.start(t, i, m)
	}
	for i, log := range s.logs {
		waitFor(t, fmt.Sprintf("%s is busy", members[i].kind), func() bool {
			if n, bad := progress(log); len(bad) > 0 || n >= rounds {
				return true
			}
			return false
		})
	}
	return s
}

// newNetwork gives the calling thread, and what is started on it, a network of
// its own with a loopback device.
func newNetwork() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

func (s *scene) start(t *testing.T, i int, m member) {
	t.Helper()
	data := filepath.Join(s.dir, fmt.Sprintf("m%d", i))
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if m.prepare != nil {
		if err := m.prepare(s, data); err != nil {
			t.Fatal(err)
		}
	}
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{victim.Name, m.kind, data}, ExtraFiles: m.files}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	errors, err := os.Create(filepath.Join(s.dir, fmt.Sprintf("stderr%d", i)))
	if err != nil {
		t.Fatal(err)
	}
	defer errors.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = null, null, errors
	if m.stdout != nil {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = m.stdout, m.stdout, m.stdout
	}
	if err := s.space.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	for _, f := range m.files {
		_ = f.Close()
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if text, err := os.ReadFile(errors.Name()); err == nil && len(text) > 0 {
			t.Logf("%s says: %s", m.kind, text)
		}
	})
	s.members = append(s.members, model.Member{
		Name: m.kind, PID: cmd.Process.Pid, Args: cmd.Args, Data: []string{data},
	})
	s.logs = append(s.logs, filepath.Join(data, victim.Log))
}

// waitFor waits until done, or fails the test.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// progress counts the complete lines of a victim's log, and returns those that
// tell of a defect. Rounds are numbered without a gap.
func progress(path string) (n int, bad []string) {
	text, _ := os.ReadFile(path)
	return scan(string(text))
}

func scan(text string) (n int, bad []string) {
	lines := strings.Split(text, "\n")
	for _, line := range lines[:len(lines)-1] {
		if !strings.HasPrefix(line, "ok "+strconv.Itoa(n)+" ") {
			bad = append(bad, line)
		}
		n++
	}
	return n, bad
}

// agent has the agent do req in the scene's network.
func (s *scene) agent(t *testing.T, req request) (o outcome) {
	t.Helper()
	req.Members, req.Dir = s.members, filepath.Join(s.dir, "fork")
	input, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{agentName}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, os.Stderr
	if err := s.space.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("agent: %v", err)
	}
	if err := json.Unmarshal(out.Bytes(), &o); err != nil {
		t.Fatalf("agent said %q: %v", out.Bytes(), err)
	}
	return o
}

// fork forks the victims and wants both sides to go on correctly.
func (s *scene) fork(t *testing.T) outcome {
	t.Helper()
	o := s.agent(t, request{})
	for _, p := range o.Problems {
		t.Error(p)
	}
	if len(o.Worlds) != 2 || len(o.Worlds[1].Logs) < len(s.logs) {
		t.FailNow()
	}
	for _, w := range o.Worlds {
		for i, log := range w.Logs {
			if n, bad := scan(log); len(bad) > 0 {
				t.Errorf("phantom of %s in %s: %d of %d rounds went wrong (the fork was at %d), first %q",
					s.members[i].Name, w.Name, len(bad), n, w.AtCut[i], bad[0])
			}
		}
	}
	for i, log := range s.logs {
		name := s.members[i].Name
		now, _ := progress(log)
		waitFor(t, "origin "+name+" goes on", func() bool {
			n, bad := progress(log)
			return n >= now+rounds || len(bad) > 0
		})
		if n, bad := progress(log); len(bad) > 0 {
			t.Errorf("origin %s: %d of %d rounds went wrong, first %q", name, len(bad), n, bad[0])
		}
	}
	t.Logf("pause %v, %d threads, %d objects; gaps %v", o.Pause.Total, o.Pause.Threads, o.Pause.Objects, o.Worlds[0].Gaps)
	return o
}

func agentMain() {
	var req request
	if err := json.NewDecoder(os.Stdin).Decode(&req); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var o outcome
	if req.Run != nil {
		o.pilot(context.Background(), req)
	} else if req.Doctor {
		var err error
		if o.Diagnoses, err = (agent.Engine{}).Doctor(context.Background(), model.Spec{Members: req.Members}); err != nil {
			o.problem("doctor: %v", err)
		}
	} else {
		o.fork(context.Background(), req)
	}
	if err := json.NewEncoder(os.Stdout).Encode(o); err != nil {
		os.Exit(1)
	}
}

func (o *outcome) problem(format string, args ...any) {
	o.Problems = append(o.Problems, fmt.Sprintf(format, args...))
}

// fork is the agent's part: snapshot, world, and a look at it.
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
	before := descriptors(req.Members)
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
	after := descriptors(req.Members)
	o.Pause = snap.Pause
	for _, name := range []string{"trial", "control"} {
		w, err := spawn.New(ctx, tracer, snap, spawn.Config{Name: name, Dir: filepath.Join(req.Dir, name), Members: req.Members})
		if err != nil {
			o.problem("spawn: %v", err)
			return
		}
		seen := &world{Name: name, Gaps: w.Gaps, w: w, files: phantomLogs(w, req.Members)}
		o.Worlds = append(o.Worlds, seen)
		defer seen.close(o)
		for i, ph := range w.Phantoms() {
			o.compare(before[i], after[i], descriptorsOf(ph.HostPID))
		}
	}
	for _, w := range o.Worlds {
		w.release(o)
	}
	for _, w := range o.Worlds {
		o.follow(w)
		for i, m := range req.Members {
			text, _ := os.ReadFile(w.files[i])
			w.Logs = append(w.Logs, string(text))
			text, _ = os.ReadFile(w.w.Log(m.Name))
			w.Outputs = append(w.Outputs, string(text))
		}
	}
}

func (w *world) release(o *outcome) {
	for _, log := range w.files {
		n, _ := progress(log)
		w.AtCut = append(w.AtCut, n)
	}
	if err := w.w.Release(); err != nil {
		o.problem("release %s: %v", w.Name, err)
	}
	w.watch = observe.New(w.w)
}

func (w *world) close(o *outcome) {
	if err := w.w.Close(); err != nil {
		o.problem("close world %s: %v", w.Name, err)
	}
	if w.watch != nil {
		w.watch.Wait()
	}
}

func phantomLogs(w *spawn.World, members []model.Member) (out []string) {
	for _, m := range members {
		for _, r := range w.Tree.Roots {
			if r.Source == m.Data[0] {
				out = append(out, filepath.Join(r.Path, victim.Log))
			}
		}
	}
	return out
}

// follow waits until every phantom has done its rounds.
func (o *outcome) follow(w *world) {
	for i, log := range w.files {
		for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
			n, bad := progress(log)
			if n >= w.AtCut[i]+rounds || len(bad) > 3 {
				break
			}
			if time.Now().After(deadline) {
				o.problem("%s: phantom %d has done %d rounds only", w.Name, i, n-w.AtCut[i])
				break
			}
			ended := false
			for _, p := range w.watch.Processes() {
				if p.Exit != nil {
					o.problem("%s: phantom of %s ended: %+v %v", w.Name, p.Member, *p.Exit, p.Output)
					ended = true
				}
			}
			if ended {
				break
			}
		}
	}
}

// A descriptor is what can be seen of one from outside.
type descriptor struct {
	link  string
	sort  string // of object
	flags int
}

func descriptors(members []model.Member) (out []map[int]descriptor) {
	for _, m := range members {
		out = append(out, descriptorsOf(m.PID))
	}
	return out
}

func descriptorsOf(pid int) map[int]descriptor {
	out := map[int]descriptor{}
	fds, _ := procfs.FDs(pid)
	for _, fd := range fds {
		link, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
		if err != nil {
			continue
		}
		info, err := procfs.ReadFDInfo(pid, fd)
		if err != nil {
			continue
		}
		sort := link
		switch {
		case strings.HasPrefix(link, "/memfd:"), strings.HasPrefix(link, "/dev/"), strings.HasPrefix(link, "anon_inode:"):
		case strings.HasPrefix(link, "/"):
			sort = filepath.Base(link) // a world's copy is elsewhere
		default:
			sort, _, _ = strings.Cut(link, ":")
		}
		// The bit says nothing, and only objects that were opened have it.
		const largeFile = 0o100000
		out[fd] = descriptor{link, sort, info.Flags &^ largeFile}
	}
	return out
}

// compare wants the phantom to have the descriptors that the origin had all
// the time, with their flags, close-on-exec included.
func (o *outcome) compare(before, after, phantom map[int]descriptor) {
	for fd, d := range before {
		if after[fd] != d {
			continue // comes and goes
		}
		got, ok := phantom[fd]
		// What writes to a terminal, or to a file outside, has another place.
		if strings.HasPrefix(d.sort, "/dev/pts") || strings.HasSuffix(d.sort, "(deleted)") || fd == 2 {
			d.sort, d.flags, got.sort, got.flags = "", 0, "", 0
		}
		if !ok || got.sort != d.sort || got.flags != d.flags {
			o.problem("fd %d is %+v, in the origin it is %+v", fd, got, d)
		}
	}
}
