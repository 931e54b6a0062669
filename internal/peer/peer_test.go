package peer

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Pattern{
		"*":                 {Any: true},
		"*:443":             {Any: true, Port: 443},
		"10.0.0.7":          {Prefix: netip.MustParsePrefix("10.0.0.7/32")},
		"10.0.0.7:443":      {Prefix: netip.MustParsePrefix("10.0.0.7/32"), Port: 443},
		"10.1.2.3/8":        {Prefix: netip.MustParsePrefix("10.0.0.0/8")},
		"10.0.0.0/8:53":     {Prefix: netip.MustParsePrefix("10.0.0.0/8"), Port: 53},
		"2001:db8::1":       {Prefix: netip.MustParsePrefix("2001:db8::1/128")},
		"[2001:db8::1]:80":  {Prefix: netip.MustParsePrefix("2001:db8::1/128"), Port: 80},
		"2001:db8::/32":     {Prefix: netip.MustParsePrefix("2001:db8::/32")},
		"::ffff:10.0.0.7":   {Prefix: netip.MustParsePrefix("10.0.0.7/32")},
		"API.Example.":      {Name: "api.example"},
		"api.example:8080":  {Name: "api.example", Port: 8080},
		"_srv._tcp.example": {Name: "_srv._tcp.example"},
		"db":                {Name: "db"},
	} {
		got, err := Parse(text)
		if err != nil || got != want {
			t.Errorf("%q: got %+v, %v, want %+v", text, got, err, want)
		}
		again, err := Parse(got.String())
		if err != nil || again != want {
			t.Errorf("%q becomes %q, which is %+v, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", ":", ":80", "a:0", "a:65536", "a:b", "10.0.0", "10.0.0.256", "10.0.0.0/33", "a b", "-a", "a-",
		"a..b", "2001:db8::1:xyz", "fe80::1%eth0", "::ffff:10.0.0.0/104", "http://a", "[::1", strings.Repeat("a", 64), strings.Repeat("a.", 130) + "a", "**"} {
		if got, err := Parse(text); err == nil {
			t.Errorf("%q is taken for %+v", text, got)
		}
	}
}

func TestParsePolicy(t *testing.T) {
	for _, p := range Policies() {
		if got, err := ParsePolicy(string(p)); err != nil || got != p {
			t.Errorf("%s: %v, %v", p, got, err)
		}
	}
	if _, err := ParsePolicy("allow"); err == nil || !strings.Contains(err.Error(), "allow-read") {
		t.Errorf("got %v", err)
	}
}

func rules(t *testing.T, pairs ...string) (out []Rule) {
	for i := 0; i < len(pairs); i += 2 {
		p, err := Parse(pairs[i])
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, Rule{Pattern: p, Policy: Policy(pairs[i+1])})
	}
	return out
}

func TestDecide(t *testing.T) {
	list := rules(t, "10.0.0.7:443", "stub", "10.0.0.0/8", "deny", "db.example:5432", "refuse-run", "*:80", "allow-read")
	list[2].Addrs = []netip.Addr{netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("2001:db8::9")}
	for _, c := range []struct {
		addr string
		port uint16
		want Policy
	}{
		{"10.0.0.7", 443, Stub}, {"::ffff:10.0.0.7", 443, Stub}, {"10.0.0.7", 80, Deny}, {"10.9.9.9", 80, Deny},
		{"192.0.2.9", 5432, RefuseRun}, {"2001:db8::9", 5432, RefuseRun}, {"192.0.2.9", 80, AllowRead},
		{"192.0.2.9", 0, Deny}, {"192.0.2.1", 443, Deny}, {"2001:db8::1", 80, AllowRead},
	} {
		if got := Decide(list, netip.MustParseAddr(c.addr), c.port).Policy; got != c.want {
			t.Errorf("%s port %d: %s, want %s", c.addr, c.port, got, c.want)
		}
	}
	if got := Decide(nil, netip.MustParseAddr("10.0.0.7"), 1).Policy; got != Deny {
		t.Errorf("without rules: %s", got)
	}
}

func TestDecideName(t *testing.T) {
	list := rules(t, "10.0.0.0/8", "stub", "db.example:5432", "refuse-run")
	for name, want := range map[string]Policy{"db.example": RefuseRun, "example": Deny, "": Deny} {
		if got := DecideName(list, name).Policy; got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
	if got := DecideName(rules(t, "*:443", "allow-read"), "a").Policy; got != AllowRead {
		t.Errorf("got %s", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"*", "a:1", "10.0.0.0/8:5", "[::1]:2", "x.y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		if err != nil {
			return
		}
		if again, err := Parse(p.String()); err != nil || again != p {
			t.Errorf("%q is %+v, and %q is %+v, %v", text, p, p, again, err)
		}
	})
}
