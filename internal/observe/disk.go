//go:build linux

package observe

import "time"

// slowSync is how much longer a slow disk takes for each sync.
const slowSync = 100 * time.Millisecond

// A Disk is the disks of a member that fail it.
type Disk struct {
	o      *Watch
	member string
	heal   func()
}

// Slow makes the disks of a member slow, for its phantoms alone, which were made
// for that: see spawn.Config.
func (o *Watch) Slow(member string) (*Disk, error) {
	o.world.Delay(member, slowSync)
	return &Disk{o, member, func() { o.world.Delay(member, 0) }}, nil
}

// Fill makes them full, likewise.
func (o *Watch) Fill(member string) (*Disk, error) {
	o.world.Fill(member, true)
	return &Disk{o, member, func() { o.world.Fill(member, false) }}, nil
}

// PIDs are the phantoms of the member that live.
func (d *Disk) PIDs() (pids []int) {
	for _, p := range d.o.Processes() {
		if p.Phantom && p.Member == d.member && p.Exit == nil {
			pids = append(pids, p.PID)
		}
	}
	return pids
}

// Refresh has nothing to learn.
func (d *Disk) Refresh() error { return nil }

// Heal makes them what they were.
func (d *Disk) Heal() error {
	d.heal()
	return nil
}
