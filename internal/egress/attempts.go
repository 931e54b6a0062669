package egress

import (
	"fmt"
	"sync"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// maxAttempts bounds the different attempts that are kept of one world.
const maxAttempts = 1000

// A sender is the process that a packet comes from. Its pid is 0 when it is not
// known.
type sender struct {
	pid     int // as the world sees it
	member  string
	process string // its command line
}

// sameAs names what makes attempts one.
type sameAs struct {
	pid                 int
	op, target, answers string
}

// A record collects attempts: equal ones are counted.
type record struct {
	mu   sync.Mutex // guards what follows
	list []attempt
	at   map[sameAs]int
	lost int // beyond maxAttempts
}

type attempt struct {
	first time.Time
	model.Attempt
}

func newRecord() *record { return &record{at: map[sameAs]int{}} }

// add notes one attempt.
func (r *record) add(from sender, op, target, by, answer string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := sameAs{from.pid, op, target, answer}
	if i, known := r.at[key]; known {
		r.list[i].Count++
		return
	}
	if len(r.list) == maxAttempts {
		r.lost++
		return
	}
	r.at[key] = len(r.list)
	r.list = append(r.list, attempt{time.Now(), model.Attempt{
		PID: from.pid, Member: from.member, Process: from.process,
		Op: op, Target: target, By: by, Answer: answer, Count: 1,
	}})
}

// attempts returns what was noted, by the time since released.
func (r *record) attempts(released time.Time) (out []model.Attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.list {
		a.At = a.first.Sub(released)
		out = append(out, a.Attempt)
	}
	return out
}

// missing says what was not noted.
func (r *record) missing() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lost == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%d attempts to leave the world, beyond the first %d different ones", r.lost, maxAttempts)}
}

// Merge joins the attempts of two recorders of one world, of which each may have
// seen what the other saw: attempts of one process, operation and target are
// one. The first list's order is kept. An answer is taken from the recorder that
// knows one, and of several from that which a policy gave; a process that is not
// known to one is that of the other.
func Merge(a, b []model.Attempt) []model.Attempt {
	out := append([]model.Attempt(nil), a...)
	taken := make([]bool, len(a))
	for _, more := range b {
		at := twin(out[:len(a)], taken, more)
		if at < 0 {
			out = append(out, more)
			continue
		}
		taken[at] = true
		out[at] = join(out[at], more)
	}
	return out
}

// twin finds the attempt of list that is b as well, exactly if possible.
func twin(list []model.Attempt, taken []bool, b model.Attempt) int {
	found := -1
	for i, a := range list {
		switch {
		case taken[i] || a.Op != b.Op || a.Target != b.Target:
		case a.PID == b.PID:
			return i
		case a.PID == 0 || b.PID == 0:
			found = i
		}
	}
	return found
}

// join makes one of two views of an attempt.
func join(a, b model.Attempt) model.Attempt {
	a.At, a.Count = min(a.At, b.At), max(a.Count, b.Count)
	if a.PID == 0 {
		a.PID, a.Member, a.Process = b.PID, b.Member, b.Process
	}
	if a.TID == 0 {
		a.TID = b.TID
	}
	if a.Member == "" {
		a.Member = b.Member
	}
	if a.Process == "" {
		a.Process = b.Process
	}
	if len(a.Stack) == 0 {
		a.Stack = b.Stack
	}
	if a.Answer == "" || b.By == byPolicy && b.Answer != "" {
		a.Answer, a.By = b.Answer, b.By
	}
	return a
}
