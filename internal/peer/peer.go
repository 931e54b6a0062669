// Package peer holds the rules for what lies outside of a world: which peers a
// rule means, and what is done when a process of a world tries to reach one. It
// is pure.
package peer

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A Policy says what is done about a peer.
type Policy string

// The policies. What no rule matches is denied.
const (
	Deny      Policy = "deny"       // fails at once, and is recorded
	AllowRead Policy = "allow-read" // HTTP GET, HEAD, OPTIONS and DNS queries are passed on
	Stub      Policy = "stub"       // a fixed reply, made in the world
	RefuseRun Policy = "refuse-run" // whatever would touch it is not piloted
)

// Policies lists them all.
func Policies() []Policy { return []Policy{Deny, AllowRead, Stub, RefuseRun} }

// ParsePolicy returns the policy called text.
func ParsePolicy(text string) (Policy, error) {
	if p := Policy(text); slices.Contains(Policies(), p) {
		return p, nil
	}
	return "", fmt.Errorf("%q is not deny, allow-read, stub or refuse-run", text)
}

// A Pattern means one or many peers.
type Pattern struct {
	Any    bool         // "*"
	Prefix netip.Prefix // an address is a prefix of all its bits
	Name   string       // in lower case, without a dot at its end
	Port   uint16       // 0 for every one
}

// Parse reads "*", an address, a prefix such as 10.0.0.0/8 or a name, each
// perhaps with ":PORT". An IPv6 address with a port is in brackets.
func Parse(text string) (Pattern, error) {
	if p, ok := parseHost(text); ok {
		return p, nil
	}
	host, port := cutPort(text)
	p, ok := parseHost(host)
	if !ok {
		return Pattern{}, fmt.Errorf("%q is not a peer such as db.example:5432, 10.0.0.7:443, 10.0.0.0/8 or *", text)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return Pattern{}, fmt.Errorf("%q has no port between 1 and 65535", text)
	}
	p.Port = uint16(n)
	return p, nil
}

// cutPort leaves nothing of a text without a port.
func cutPort(text string) (host, port string) {
	i := strings.LastIndexByte(text, ':')
	if i < 0 {
		return "", ""
	}
	host, port = text[:i], text[i+1:]
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		return host[1 : len(host)-1], port
	}
	if strings.Contains(host, ":") { // an IPv6 address without brackets
		return "", ""
	}
	return host, port
}

func parseHost(text string) (p Pattern, ok bool) {
	if text == "*" {
		return Pattern{Any: true}, true
	}
	if prefix, err := netip.ParsePrefix(text); err == nil && !prefix.Addr().Is4In6() {
		return Pattern{Prefix: prefix.Masked()}, true
	}
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return Pattern{Prefix: netip.PrefixFrom(addr, addr.BitLen())}, true
	}
	name := strings.ToLower(strings.TrimSuffix(text, "."))
	return Pattern{Name: name}, isName(name)
}

// isName accepts what a host can be called. The last label is not a number, so
// that a mistyped address is no name.
func isName(name string) bool {
	if len(name) == 0 || len(name) > 253 {
		return false
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
				return false
			}
		}
	}
	_, err := strconv.ParseUint(labels[len(labels)-1], 10, 64)
	return err != nil
}

// String is the form that [Parse] reads.
func (p Pattern) String() string {
	host := p.Name
	switch {
	case p.Any:
		host = "*"
	case p.Prefix.IsValid() && p.Prefix.IsSingleIP():
		host = p.Prefix.Addr().String()
		if p.Port != 0 && p.Prefix.Addr().Is6() {
			host = "[" + host + "]"
		}
	case p.Prefix.IsValid():
		host = p.Prefix.String()
		if p.Port != 0 && p.Prefix.Addr().Is6() {
			host = "[" + host + "]"
		}
	}
	if p.Port != 0 {
		host += ":" + strconv.Itoa(int(p.Port))
	}
	return host
}

// A Rule is a policy for the peers of a pattern.
type Rule struct {
	Pattern
	Policy Policy
	Reply  string // of a stub
	// Addrs is what the pattern's name stands for.
	Addrs []netip.Addr
}

// Decide returns the first of rules that means addr and port; denial if none
// does. Port 0 stands for a protocol without ports, which only rules for every
// port mean.
func Decide(rules []Rule, addr netip.Addr, port uint16) Rule {
	addr = addr.Unmap()
	for _, r := range rules {
		if r.Port != 0 && r.Port != port {
			continue
		}
		if r.Any || r.Prefix.IsValid() && r.Prefix.Contains(addr) || slices.Contains(r.Addrs, addr) {
			return r
		}
	}
	return Rule{Policy: Deny}
}

// DecideName returns the first of rules that means name, whatever its port;
// denial if none does.
func DecideName(rules []Rule, name string) Rule {
	for _, r := range rules {
		if r.Any || r.Name != "" && r.Name == name {
			return r
		}
	}
	return Rule{Policy: Deny}
}
