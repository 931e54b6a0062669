//go:build linux

package observe

import (
	"os"
	"slices"
	"sync"
	"time"
)

// logPoll is how often logs are looked at: times of lines are right to that. All
// worlds are looked at in the same moment, since each waking costs more than what
// is done then.
const logPoll = 50 * time.Millisecond

// growth remembers how long logs were at which time.
type growth struct {
	mu    sync.Mutex
	marks map[string][]mark // by path
}

type mark struct {
	size int64
	at   time.Duration // since the release of the world
}

// times follows the logs of all members until the world ends.
func (o *Watch) times() {
	var paths []string
	for _, m := range o.world.Members() {
		paths = append(paths, o.world.Log(m.Name), o.world.MemberLog(m.Name))
	}
	slices.Sort(paths)
	paths = slices.Compact(paths)
	for !o.world.Closing() {
		for _, path := range paths {
			if fi, err := os.Stat(path); err == nil {
				o.growth.saw(path, mark{fi.Size(), time.Since(o.world.Released)})
			}
		}
		time.Sleep(time.Until(time.Now().Truncate(logPoll).Add(logPoll)))
	}
}

func (g *growth) saw(path string, m mark) {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := g.marks[path]
	if n := len(all); n > 0 {
		switch last := all[n-1].size; {
		case m.size == last:
			return
		case m.size < last: // begun anew
			all = nil
		}
	}
	g.marks[path] = append(all, m)
}

// LogTime says when the byte at an offset of a member's log was seen first, since
// the release of the world; 0 when that is not known.
func (o *Watch) LogTime(path string, offset int64) time.Duration { return o.growth.time(path, offset) }

func (g *growth) time(path string, offset int64) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := g.marks[path]
	i, _ := slices.BinarySearchFunc(all, offset, func(m mark, offset int64) int {
		if m.size <= offset {
			return -1
		}
		return 1
	})
	if i == len(all) {
		return 0
	}
	return all[i].at
}
