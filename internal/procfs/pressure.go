package procfs

import (
	"bytes"
	"time"
)

// Pressure is what a file of pressure stall information tells, of the host or
// of a control group. See Documentation/accounting/psi.rst.
type Pressure struct {
	Some, Full Stall
}

// A Stall tells how long tasks have stood still for want of a resource: some of
// them, or all that were not idle.
type Stall struct {
	Avg10, Avg60, Avg300 float64 // per cent of the last seconds
	Total                time.Duration
}

// ReadPressure reads /proc/pressure/RESOURCE: "cpu", "memory" or "io". The file
// is missing, or cannot be read, where the kernel does not account for it.
func ReadPressure(resource string) (Pressure, error) {
	return parsed("/proc/pressure/"+resource, ParsePressure)
}

// ParsePressure parses the content of a pressure file. Before Linux 5.13 that
// of the processor has no line for full.
func ParsePressure(text []byte) (p Pressure, err error) {
	for row := range lines(text) {
		l := line{rest: row}
		stall := Stall{}
		kind := string(l.word())
		for word := l.word(); len(word) > 0; word = l.word() {
			stall.field(word, &l)
		}
		switch kind {
		case "some":
			p.Some = stall
		case "full":
			p.Full = stall
		default:
			l.bad = true
		}
		if l.bad {
			return p, malformed("pressure", row)
		}
	}
	return p, nil
}

func (s *Stall) field(word []byte, l *line) {
	key, value, ok := bytes.Cut(word, []byte{'='})
	l.expect(ok)
	switch string(key) {
	case "avg10":
		s.Avg10 = l.percent(value)
	case "avg60":
		s.Avg60 = l.percent(value)
	case "avg300":
		s.Avg300 = l.percent(value)
	case "total":
		s.Total = time.Duration(l.number(value, 10, 53)) * time.Microsecond
	}
}

// percent reads a number with two decimals, "0.21".
func (l *line) percent(word []byte) float64 {
	whole, cents, ok := bytes.Cut(word, []byte{'.'})
	l.expect(ok && len(cents) == 2)
	return float64(l.number(whole, 10, 31)) + float64(l.number(cents, 10, 7))/100
}
