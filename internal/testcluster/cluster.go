//go:build linux

package testcluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// startTimeout is how long a cluster may take to become healthy. A JVM on a
// busy machine needs most of it.
const startTimeout = 60 * time.Second

// stopGrace is how long a member may take to end by itself.
const stopGrace = 2 * time.Second

// A Member is one server of a cluster.
type Member struct {
	Name    string
	Args    []string // command line, Args[0] an absolute path
	Env     []string // whole environment
	Dir     string   // working directory
	Data    string   // data directory
	Log     string   // stdout and stderr are appended to it
	Client  string   // HOST:PORT for clients
	Peer    string   // HOST:PORT for other members, empty if there is none
	Monitor string   // HOST:PORT of the monitoring pages, NATS only

	// PID and Cmd are those of the last start. Wait must not be called.
	PID int
	Cmd *exec.Cmd

	proc *process
}

// Running reports whether the member's process has not ended.
func (m *Member) Running() bool { return m.proc != nil && m.proc.running() }

// A Cluster is a running system. Its methods may be called from one goroutine
// at a time.
type Cluster struct {
	Kind    Kind
	Dir     string
	Members []*Member

	bin   Paths
	loads []*Load
}

// Start starts a cluster of n members whose files are all in dir, and waits
// until it is healthy. The caller stops it.
func Start(ctx context.Context, kind Kind, dir string, bin Paths, n int) (*Cluster, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	c := &Cluster{Kind: kind, Dir: dir, bin: bin}
	if err := c.layOut(n); err != nil {
		return nil, fmt.Errorf("lay out %s: %w", kind, err)
	}
	for _, m := range c.Members {
		if err := c.start(m); err != nil {
			c.Stop()
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := c.WaitHealthy(ctx); err != nil {
		err = fmt.Errorf("start %s: %w\n%s", kind, err, c.logTails())
		c.Stop()
		return nil, err
	}
	return c, nil
}

// layOut names the members and writes their directories and configuration.
func (c *Cluster) layOut(n int) error {
	const portsEach = 3
	ports, err := freePorts(n * portsEach)
	if err != nil {
		return err
	}
	for i := range n {
		name := fmt.Sprintf("%c%d", c.Kind[0], i+1)
		m := &Member{
			Name:    name,
			Env:     os.Environ(),
			Dir:     c.Dir,
			Data:    filepath.Join(c.Dir, name),
			Log:     filepath.Join(c.Dir, name+".log"),
			Client:  loopback(ports[i*portsEach]),
			Peer:    loopback(ports[i*portsEach+1]),
			Monitor: loopback(ports[i*portsEach+2]),
		}
		if err := os.MkdirAll(m.Data, 0o700); err != nil {
			return err
		}
		c.Members = append(c.Members, m)
	}
	switch c.Kind {
	case Etcd:
		return c.layOutEtcd()
	case NATS:
		return c.layOutNATS()
	case ZooKeeper:
		return c.layOutZooKeeper()
	case Redis:
		return c.layOutRedis()
	case Kafka:
		return c.layOutKafka()
	}
	return fmt.Errorf("unknown kind %q", c.Kind)
}

func (c *Cluster) start(m *Member) error {
	log, err := os.OpenFile(m.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own descriptor
	cmd := exec.Command(m.Args[0], m.Args[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = m.Env, m.Dir, log, log
	p, err := startProcess(cmd)
	if err != nil {
		return fmt.Errorf("start %s: %w", m.Name, err)
	}
	m.proc, m.Cmd, m.PID = p, cmd, cmd.Process.Pid
	return nil
}

// Member returns the member of that name, or nil.
func (c *Cluster) Member(name string) *Member {
	for _, m := range c.Members {
		if m.Name == name {
			return m
		}
	}
	return nil
}

// PIDs returns the processes of all members that run.
func (c *Cluster) PIDs() []int {
	var pids []int
	for _, m := range c.Members {
		if m.Running() {
			pids = append(pids, m.PID)
		}
	}
	return pids
}

// Kill kills a member without warning, as a crash would.
func (c *Cluster) Kill(name string) error {
	m := c.Member(name)
	if m == nil || !m.Running() {
		return fmt.Errorf("no running member %q", name)
	}
	c.end(m, 0)
	return nil
}

// Restart starts a member again that has ended, with the same command line.
// It does not wait until the member serves.
func (c *Cluster) Restart(name string) error {
	m := c.Member(name)
	if m == nil || m.Running() {
		return fmt.Errorf("no ended member %q", name)
	}
	return c.start(m)
}

// Stop ends all loads and members of the cluster. The directory stays.
func (c *Cluster) Stop() {
	for _, l := range c.loads {
		l.kill()
	}
	var wg sync.WaitGroup
	for _, m := range c.Members {
		if m.proc != nil {
			wg.Go(func() { c.end(m, stopGrace) })
		}
	}
	wg.Wait()
}

func (c *Cluster) end(m *Member, grace time.Duration) {
	m.proc.stop(grace)
	if c.Kind == ZooKeeper {
		// A JVM that is killed leaves its performance counters behind.
		files, err := filepath.Glob(filepath.Join(os.TempDir(), "hsperfdata_*", strconv.Itoa(m.PID)))
		if err == nil && len(files) == 1 {
			_ = os.Remove(files[0])
		}
	}
}

// WaitHealthy waits until the whole cluster is healthy, or a member has ended.
func (c *Cluster) WaitHealthy(ctx context.Context) error {
	for {
		err := c.healthy(ctx)
		if err == nil {
			return nil
		}
		for _, m := range c.Members {
			if !m.Running() {
				return fmt.Errorf("%s ended: %v", m.Name, m.Cmd.ProcessState)
			}
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// healthy needs both answers: a member may serve before it is known to all.
func (c *Cluster) healthy(ctx context.Context) error {
	if err := c.Health(ctx); err != nil {
		return err
	}
	st, err := c.Status(ctx)
	if err != nil {
		return err
	}
	if !st.Healthy || st.Size != len(c.Members) {
		return fmt.Errorf("status: healthy %t, %d members, election %q %s", st.Healthy, st.Size, st.Election, st.Err)
	}
	return nil
}

// logTails quotes the end of every member's log.
func (c *Cluster) logTails() string {
	text := ""
	for _, m := range c.Members {
		data, err := os.ReadFile(m.Log)
		if err != nil {
			continue
		}
		text += fmt.Sprintf("--- %s\n%s\n", m.Log, tail(data, 1500))
	}
	return text
}
