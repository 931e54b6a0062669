package egress

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/pilotexec/pilot/internal/peer"
)

// Codes of RFC 1035, 4.1.1, and types of records.
const (
	rcodeOK       = 0
	rcodeFormat   = 1
	rcodeFailure  = 2
	rcodeRefused  = 5
	typeA         = 1
	typeAAAA      = 28
	classInternet = 1
)

// A question is a query of the domain name system, RFC 1035, with one name.
type question struct {
	raw    []byte // header and question, without what follows
	name   string // in lower case, without the dot at its end
	kind   uint16 // the type of record
	class  uint16
	opcode byte // 0 for a plain query
}

var errNoQuery = errors.New("not a DNS query")

// parseQuestion reads the header and the one question of a query.
func parseQuestion(b []byte) (q question, err error) {
	be := binary.BigEndian
	if len(b) < 12 || b[2]&0x80 != 0 { // an answer
		return q, errNoQuery
	}
	q.opcode = b[2] >> 3 & 15
	if be.Uint16(b[4:]) != 1 {
		q.raw = b[:12]
		return q, errors.New("not one question")
	}
	var name strings.Builder
	at := 12
	for {
		if at >= len(b) {
			return q, errNoQuery
		}
		size := int(b[at])
		at++
		if size == 0 {
			break
		}
		// Nothing precedes that a pointer could lead to.
		if size > 63 || at+size > len(b) || name.Len()+size > 253 {
			return q, errNoQuery
		}
		if name.Len() > 0 {
			name.WriteByte('.')
		}
		name.Write(b[at : at+size])
		at += size
	}
	if at+4 > len(b) {
		return q, errNoQuery
	}
	q.name = strings.ToLower(name.String())
	q.kind, q.class = be.Uint16(b[at:]), be.Uint16(b[at+2:])
	q.raw = b[:at+4]
	return q, nil
}

// answer is the message that gives addrs, as far as they are of the type that
// was asked for, or a code other than 0.
func (q question) answer(code byte, addrs []netip.Addr) []byte {
	be := binary.BigEndian
	b := append([]byte(nil), q.raw...)
	b[2] = 0x80 | b[2]&0x79 // an answer; opcode and "recursion desired" stay
	b[3] = 0x80 | code      // recursion is available
	if len(b) == 12 {
		be.PutUint16(b[4:], 0)
	}
	count := uint16(0)
	for _, a := range addrs {
		want := q.kind == typeA && a.Is4() || q.kind == typeAAAA && a.Is6()
		// 512 bytes are what every client takes.
		if !want || q.class != classInternet || len(b)+28 > 512 {
			continue
		}
		count++
		b = append(b, 0xc0, 12) // the name is at offset 12
		b = be.AppendUint16(b, q.kind)
		b = be.AppendUint16(b, classInternet)
		b = be.AppendUint32(b, 1) // second: nothing in a world is for long
		b = be.AppendUint16(b, uint16(a.BitLen()/8))
		b = append(b, a.AsSlice()...)
	}
	be.PutUint16(b[6:], count)
	be.PutUint16(b[8:], 0)
	be.PutUint16(b[10:], 0)
	return b
}

// parseServers reads the addresses of name servers from resolv.conf(5).
func parseServers(text string) (out []netip.Addr) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(f[1]); err == nil {
			out = append(out, a.WithZone("").Unmap())
		}
	}
	return out
}

// parseHosts reads hosts(5): addresses by name.
func parseHosts(text string) map[string][]netip.Addr {
	out := map[string][]netip.Addr{}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		a, err := netip.ParseAddr(f[0])
		if err != nil {
			continue
		}
		for _, name := range f[1:] {
			name = strings.ToLower(strings.TrimSuffix(name, "."))
			out[name] = append(out[name], a.Unmap())
		}
	}
	return out
}

// maxMentioned bounds the names that are taken from members' arguments.
const maxMentioned = 32

// Mentioned returns the names in args that have a port behind them, as in
// "http://node1.example:2380": members may ask for each other by these.
func Mentioned(args []string) (names []string) {
	for _, arg := range args {
		words := strings.FieldsFunc(arg, func(r rune) bool { return strings.ContainsRune("/,=@;\"' ", r) })
		for _, word := range words {
			p, err := peer.Parse(word)
			if err == nil && p.Name != "" && p.Port != 0 && !slices.Contains(names, p.Name) && len(names) < maxMentioned {
				names = append(names, p.Name)
			}
		}
	}
	return names
}
