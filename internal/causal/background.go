package causal

import (
	"math"
	"math/bits"
	"strconv"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// A class is what events that are alike share.
type class struct {
	member, kind, object string
	size                 int // of a message: powers of two
}

// classOf puts e with others but for numbers, so that the file of the next
// segment is as that of the one before. Messages are told apart by their size: a
// heartbeat is not a request over the same connection.
func classOf(e *model.Event, templates map[string]string) class {
	c := class{member: e.Member, kind: e.Kind}
	object := e.Object
	switch e.Kind {
	case model.EventSend, model.EventReceive:
		c.size = bits.Len64(uint64(e.Bytes) / uint64(max(1, e.Count)))
		fallthrough
	case model.EventConnect, model.EventAccept, model.EventClose:
		if e.Conn != "" {
			_, server := ends(e.Conn) // the port of the client is another each time
			c.object = server
			return c
		}
	}
	t, known := templates[object]
	if !known {
		t = template(object)
		templates[object] = t
	}
	c.object = t
	return c
}

// template is s with # for words that hold a digit and nothing but digits and
// the letters of hexadecimal numbers.
func template(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		n := 0
		digit, other := false, false
		for n < len(s) && word(s[n]) {
			digit = digit || '0' <= s[n] && s[n] <= '9'
			other = other || !hexadecimal(s[n])
			n++
		}
		switch {
		case n == 0:
			b.WriteByte(s[0])
			n = 1
		case digit && !other:
			b.WriteByte('#')
		case digit:
			digitsOut(&b, s[:n])
		default:
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// digitsOut writes a word such as "raft12" with # for its numbers.
func digitsOut(b *strings.Builder, s string) {
	in := false
	for i := range len(s) {
		d := '0' <= s[i] && s[i] <= '9'
		if d && !in {
			b.WriteByte('#')
		} else if !d {
			b.WriteByte(s[i])
		}
		in = d
	}
}

func word(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c >= 0x80
}

func hexadecimal(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// A habit is a class as one task or thread has it, or one place of the program.
// Phantoms of one process have the same numbers in both worlds; tasks made since
// then are made at the same place, and what they do is done at the same place.
type habit struct {
	class
	by    carrierKey
	place string
}

// background tells of each event of w whether the other world does the like as
// often. A class counts as a whole: which of its events are the usual ones
// cannot be told by looking at one. Where a class has more, those of a task that
// does them as often in the other world are the usual ones. If places are known,
// it is the place that counts, and not the class.
func background(w, other *model.World) []bool {
	out := make([]bool, len(w.Events))
	if other == nil || len(other.Events) == 0 {
		return out
	}
	templates := map[string]string{}
	usual, seen := count(other, templates), count(w, templates)
	placed := map[class]bool{}
	for h := range usual {
		placed[h.class] = placed[h.class] || h.place != ""
	}
	scale := float64(length(w)) / float64(length(other))
	alike := make(map[habit]bool, len(seen))
	for h, n := range seen {
		alike[h] = usual[h] > 0 && float64(n) <= often(float64(usual[h])*scale)
	}
	for i := range w.Events {
		list := habits(&w.Events[i], templates)
		if last := list[len(list)-1]; last.place != "" && placed[last.class] {
			list = list[1:] // not the class
		}
		for _, h := range list {
			out[i] = out[i] || alike[h]
		}
	}
	return out
}

// count returns how many events of w each class and each habit has.
func count(w *model.World, templates map[string]string) map[habit]int {
	n := map[habit]int{}
	for i := range w.Events {
		for _, h := range habits(&w.Events[i], templates) {
			n[h] += max(1, w.Events[i].Count)
		}
	}
	return n
}

// habits are the class of e, for whoever does it, and its habits.
func habits(e *model.Event, templates map[string]string) []habit {
	c := classOf(e, templates)
	list := append(make([]habit, 0, 4), habit{class: c}, habit{class: c, by: keyOf(e)})
	if _, place := maker(e.Maker); place != "" {
		list = append(list, habit{class: c, place: place})
	}
	if len(e.Stack) > 0 {
		list = append(list, habit{class: c, place: strings.Join(e.Stack, "\n")})
	}
	return list
}

// often is how many events there may be when n are expected: events that come
// by themselves vary by the square root of their number, and timers of a busy
// host by some per cent.
func often(n float64) float64 { return max(1, 1.1*n+2*math.Sqrt(n)) }

// length is how long w was watched.
func length(w *model.World) time.Duration {
	d := max(w.Lifetime, 1)
	if n := len(w.Events); n > 0 {
		d = max(d, w.Events[n-1].At)
	}
	return d
}

// bytes is a size as people read it.
func bytes(n int64) string {
	const unit = 1024
	switch {
	case n < 10*unit:
		return strconv.FormatInt(n, 10) + " B"
	case n < 10*unit*unit:
		return strconv.FormatInt(n/unit, 10) + " KiB"
	}
	return strconv.FormatInt(n/unit/unit, 10) + " MiB"
}
