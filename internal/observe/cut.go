//go:build linux

package observe

import (
	"errors"
	"fmt"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/partition"
	"github.com/pilotexec/pilot/internal/procfs"
)

// A Cut keeps a member from the others of its world.
type Cut struct {
	o      *Watch
	member string
	p      *partition.Partition
	pids   []int
}

// Cut cuts member off. Clients reach it as before, and it them.
func (o *Watch) Cut(member string) (*Cut, error) {
	p, err := partition.Open(o.world.Init().PID())
	if err != nil {
		return nil, err
	}
	c := &Cut{o: o, member: member, p: p}
	if err := c.Refresh(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return c, nil
}

// Refresh learns of sockets and processes that members have made since. Call it
// now and then: connections of a process that was started since are cut from then
// on only.
func (c *Cut) Refresh() error {
	init := c.o.world.Init().PID()
	sockets, err := procfs.NetTCP(init)
	if err != nil {
		return err
	}
	datagrams, err := procfs.NetUDP(init)
	if err != nil {
		return err
	}
	sockets = append(sockets, datagrams...)
	hosts, err := c.o.hostPIDs()
	if err != nil {
		return err
	}
	var pids []int
	for _, p := range c.o.Processes() {
		pid := hosts[worldPID(p)]
		if p.Member == "" || p.Exit != nil || pid == 0 {
			continue
		}
		side := partition.Rest
		if p.Member == c.member {
			side = partition.Cut
			pids = append(pids, p.PID)
		}
		if err := c.p.Task(pid, side); err != nil {
			return fmt.Errorf("process %d: %w", p.PID, err)
		}
		own, err := socketsOf(pid)
		if gone(err) {
			continue
		}
		if err != nil {
			return err
		}
		for _, s := range sockets {
			if own[s.Inode] && s.Local.Port() != 0 {
				if err := c.p.Port(s.Local.Port(), side); err != nil {
					return err
				}
			}
		}
	}
	c.pids = pids
	return nil
}

// PIDs are the processes of the member, as the world has them.
func (c *Cut) PIDs() []int { return c.pids }

// Heal ends the cut.
func (c *Cut) Heal() error { return c.p.Close() }

// worldPID is what p is called in the world's pid namespace, or in that of its container.
func worldPID(p model.Process) int {
	if p.Number != 0 {
		return p.Number
	}
	return p.PID
}

// hostPIDs returns what the agent calls the processes of the world, by what they
// are called there.
func (o *Watch) hostPIDs() (map[int]int, error) {
	out := map[int]int{}
	for _, ph := range o.world.Phantoms() {
		number := ph.Number
		if number == 0 {
			number = ph.Member.PID
		}
		out[number] = ph.HostPID
	}
	space, err := procfs.Namespace(o.world.Init().PID(), "pid")
	if err != nil {
		return nil, err
	}
	all, err := procfs.Processes()
	if err != nil {
		return nil, err
	}
	for _, pid := range all {
		if theirs, err := procfs.Namespace(pid, "pid"); err != nil || theirs != space {
			continue
		}
		if s, err := procfs.ReadStatus(pid); err == nil && len(s.NSpid) > 0 {
			if number := s.NSpid[len(s.NSpid)-1]; out[number] == 0 {
				out[number] = pid
			}
		}
	}
	return out, nil
}
