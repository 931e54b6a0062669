//go:build linux

// Package observe watches a running world from outside: which processes live,
// start and end in it, how the commands fare that are run in it, and what they
// print. It looks at phantoms and never touches production.
package observe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/spawn"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/worldinit"
	"golang.org/x/sys/unix"
)

// How much of an output is kept, in bytes. That of checks is compared.
const (
	tailBytes  = 64 << 10
	probeBytes = 1 << 20
)

// A Watch follows one world from its release to its end.
type Watch struct {
	world *spawn.World

	mu        sync.Mutex // guards what follows
	processes []*model.Process
	byPID     map[int]*model.Process // living ones
	commands  map[int]*command
	byRoot    map[int]*command // commands by their first process
	gaps      []string
	begun     map[int]effort // by the pid of a phantom: see BeginVitals

	growth growth // of logs

	wg sync.WaitGroup
}

// command is one command run in the world.
type command struct {
	output string // path of its output
	pid    int
	done   chan struct{}
	result model.CommandResult
	quiet  bool // a probe: its processes are not the recovery's
}

// New begins to watch a released world.
func New(w *spawn.World) *Watch {
	o := &Watch{
		world: w, byPID: map[int]*model.Process{},
		commands: map[int]*command{}, byRoot: map[int]*command{},
		growth: growth{marks: map[string][]mark{}},
	}
	for _, ph := range w.Phantoms() {
		p := &model.Process{PID: ph.Member.PID, Number: ph.Number, Member: ph.Member.Name, Phantom: true, Args: ph.Member.Args}
		o.processes = append(o.processes, p)
		o.wg.Go(func() { o.watchPhantom(p, ph) })
	}
	events := w.Init().Events // now: a world may be closed before the goroutine runs
	o.wg.Go(func() { o.follow(events) })
	o.wg.Go(o.times)
	return o
}

// watchPhantom waits for a phantom's end. Its parent is stopped, so that it
// stays a zombie until its status was read.
func (o *Watch) watchPhantom(p *model.Process, ph spawn.Phantom) {
	ended, err := sys.PidfdWait(ph.PIDFD, -1)
	if err != nil || !ended || o.world.Closing() {
		return
	}
	exit := &model.Exit{At: time.Since(o.world.Released)}
	if stat, err := procfs.ReadStat(ph.HostPID); err == nil {
		ws := syscall.WaitStatus(stat.ExitCode)
		exit.Code = ws.ExitStatus()
		if ws.Signaled() {
			exit.Code, exit.Signal = 0, unix.SignalName(ws.Signal())
		}
	}
	o.world.Bury(ph)
	o.mu.Lock()
	defer o.mu.Unlock()
	p.Exit = exit
	p.Output = tail(o.world.MemberLog(ph.Member.Name), 30)
}

// follow keeps the list of processes that commands have started.
func (o *Watch) follow(events <-chan worldinit.Event) {
	for e := range events {
		o.mu.Lock()
		o.event(e)
		o.mu.Unlock()
	}
}

func (o *Watch) event(e worldinit.Event) {
	at := e.At.Sub(o.world.Released)
	switch e.Kind {
	case "failed":
		if c := o.commands[e.ID]; c != nil && c.result.Err == "" && c.pid == 0 {
			c.result.Err = e.Err
			close(c.done)
		}
	case "started":
		c := o.commands[e.ID]
		if c == nil {
			return
		}
		c.pid, c.result.PID = e.PID, e.PID
		o.byRoot[e.PID] = c
		o.add(&model.Process{PID: e.PID, Args: e.Args, Started: at})
	case "fork":
		o.add(&model.Process{PID: e.PID, Parent: e.Parent, Args: e.Args, Started: at, Member: o.memberOf(e.Args)})
	case "exec":
		if p := o.byPID[e.PID]; p != nil {
			p.Args = e.Args
			p.Member = o.memberOf(e.Args)
		}
	case "exit":
		p := o.byPID[e.PID]
		if p == nil {
			return
		}
		delete(o.byPID, e.PID)
		p.Exit = &model.Exit{Code: e.Code, Signal: e.Signal, At: at}
		root := o.rootOf(p)
		if c := o.byRoot[root]; c != nil {
			// All of a command's processes write to one place. Only of the
			// command itself, and of a member that it started, can it be said
			// whose the last lines are.
			if p.PID == root || p.Member != "" {
				p.Output = tail(c.output, 30)
			}
			if p.PID == root && c.result.Exit == nil {
				c.result.Exit = p.Exit
				close(c.done)
			}
		}
	}
}

func (o *Watch) add(p *model.Process) {
	o.processes = append(o.processes, p)
	o.byPID[p.PID] = p
}

// rootOf follows parents to the command that p comes from.
func (o *Watch) rootOf(p *model.Process) int {
	pid := p.PID
	for range 64 {
		i := slices.IndexFunc(o.processes, func(q *model.Process) bool { return q.PID == pid && !q.Phantom })
		if i < 0 || o.processes[i].Parent == 0 {
			break
		}
		pid = o.processes[i].Parent
	}
	return pid
}

func (o *Watch) memberOf(args []string) string { return MemberOf(o.world.Members(), args) }

// MemberOf recognises a member that is started again: the member's program,
// with a data directory of its among the arguments.
func MemberOf(members []model.Member, args []string) string {
	for _, m := range members {
		if len(args) == 0 || len(m.Args) > 0 && filepath.Base(args[0]) != filepath.Base(m.Args[0]) {
			continue
		}
		for _, dir := range m.Data {
			for _, a := range args[1:] {
				if _, value, ok := strings.Cut(a, "="); ok {
					a = value
				}
				if a == dir || strings.HasPrefix(a, dir+"/") {
					return m.Name
				}
			}
		}
	}
	return ""
}

// Run starts a command in the world and waits for its end, or ctx's. A command
// that goes on is left alone: it may be what the recovery has started.
func (o *Watch) Run(ctx context.Context, name string, args, env []string, dir string, probe bool) model.CommandResult {
	began := time.Now()
	path := filepath.Join(o.world.Dir, "output", fmt.Sprintf("command-%s-%d.log", name, began.UnixNano()))
	out, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return model.CommandResult{Err: err.Error()}
	}
	defer out.Close()
	if err := out.Chown(o.world.Root()); err != nil { // it may open it anew, as /dev/stderr
		return model.CommandResult{Err: err.Error()}
	}
	c := &command{output: path, done: make(chan struct{}), quiet: probe}
	o.mu.Lock()
	id, err := o.world.Init().Command(args, env, dir, out)
	if err == nil {
		o.commands[id] = c
	}
	o.mu.Unlock()
	if err != nil {
		return model.CommandResult{Err: err.Error()}
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		if probe {
			o.killCommand(c)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	result := c.result
	most := int64(tailBytes)
	if probe {
		most = probeBytes
	}
	result.Output, result.Cut = tailText(path, most)
	result.Duration = time.Since(began)
	return result
}

func (o *Watch) killCommand(c *command) {
	o.mu.Lock()
	pid := c.pid
	o.mu.Unlock()
	if pid != 0 {
		_ = o.world.Init().KillPID(pid)
	}
}

// Processes returns what is known of all processes but those of probes.
func (o *Watch) Processes() []model.Process {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []model.Process
	for _, p := range o.processes {
		if !p.Phantom {
			if c := o.byRoot[o.rootOf(p)]; c != nil && c.quiet {
				continue
			}
			p.Cause = model.CauseAction
		}
		out = append(out, *p)
	}
	o.titles(out)
	return out
}

// Wait returns when the world has ended and all watching with it.
func (o *Watch) Wait() { o.wg.Wait() }

// tail returns the last n lines of a file.
func tail(path string, n int) []string {
	text, _ := tailText(path, tailBytes)
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return lines
}

// tailText returns the last bytes of a file, most at most, and whether there are
// others before.
func tailText(path string, most int64) (text string, cut bool) {
	f, err := os.Open(path)
	if err != nil {
		return "", false
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return "", false
	}
	from := max(0, fi.Size()-most)
	buf := make([]byte, fi.Size()-from)
	n, err := f.ReadAt(buf, from)
	if err != nil && !errors.Is(err, os.ErrClosed) && n == 0 {
		return "", false
	}
	return strings.ToValidUTF8(string(buf[:n]), "?"), from > 0
}
