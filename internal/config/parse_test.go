package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

const whole = `
# a cluster with one node down
cluster: shop
members:
  - name: etcd1
    match: --name etcd1
    data: /var/lib/etcd1
  - {name: etcd2, pid: 4121}
  - match: etcd-proxy
  - name: etcd3
    match: --name etcd3
    data: [data/etcd3, /var/log/etcd3/]
    command: [etcd, --name, etcd3]
  - name: etcd4
    data: etcd4
    command: exec etcd --name etcd4
checks:
  - etcdctl endpoint health
  - name: members
    command: [etcdctl, member, list]
    timeout: 3s
  - command: test -e /var/lib/etcd1
  - {tcp: "127.0.0.1:2379", when: always}
  - {name: page, http: "http://127.0.0.1:2379/health", expect: "true", when: after}
  - {file: data/members, preserve: true}
logs:
  - forbid: panic|corrupt
  - {require: became leader, severity: warning}
egress:
  - {peer: "10.0.0.7:443", policy: allow-read}
  - peer: mail.example
    policy: stub
    reply: "220 ready\r\n"
max-pause: 100ms
timeout: 1m30s
settle: 0s
patience: 1m
trace: full
max-memory: 2G
max-disk: 512 MiB
max-memory-pressure: 5%
max-io-pressure: 70
`

func TestParseWhole(t *testing.T) {
	got, err := Parse("pilot.yaml", []byte(whole), "/srv")
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Cluster: "shop",
		Members: []Member{
			{Name: "etcd1", Match: "--name etcd1", Data: []string{"/var/lib/etcd1"}},
			{Name: "etcd2", PID: 4121},
			{Match: "etcd-proxy"},
			{Name: "etcd3", Match: "--name etcd3", Data: []string{"/srv/data/etcd3", "/var/log/etcd3"}, Command: []string{"etcd", "--name", "etcd3"}},
			{Name: "etcd4", Data: []string{"/srv/etcd4"}, Command: []string{"sh", "-c", "exec etcd --name etcd4"}},
		},
		Checks: []Check{
			{Name: "etcdctl endpoint health", Command: []string{"sh", "-c", "etcdctl endpoint health"}, Timeout: DefaultCheckTimeout},
			{Name: "members", Command: []string{"etcdctl", "member", "list"}, Timeout: 3 * time.Second},
			{Name: "test -e /var/lib/etcd1", Command: []string{"sh", "-c", "test -e /var/lib/etcd1"}, Timeout: DefaultCheckTimeout},
			{Name: "tcp 127.0.0.1:2379", Ask: []string{"tcp", "127.0.0.1:2379"}, When: "always", Timeout: DefaultCheckTimeout},
			{Name: "page", Ask: []string{"http", "body", "http://127.0.0.1:2379/health"}, Expect: "true", When: "after", Timeout: DefaultCheckTimeout},
			{Name: "cat -- /srv/data/members", Command: []string{"cat", "--", "/srv/data/members"}, Preserve: true, Timeout: DefaultCheckTimeout},
		},
		Logs: []LogRule{{Pattern: "panic|corrupt"}, {Pattern: "became leader", Require: true, Warning: true}},
		Egress: []Egress{
			{Peer: "10.0.0.7:443", Policy: "allow-read"},
			{Peer: "mail.example", Policy: "stub", Reply: "220 ready\r\n"},
		},
		MaxPause:  100 * time.Millisecond,
		Patience:  time.Minute,
		Trace:     "full",
		Timeout:   90 * time.Second,
		MaxMemory: 2 << 30, MaxDisk: 512 << 20, MemoryPressure: 5, IOPressure: 70,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestParseNothing(t *testing.T) {
	for _, text := range []string{"", "# only a comment\n", "---\n", "null\n", "---\n...\n"} {
		got, err := Parse("pilot.yaml", []byte(text), "/")
		if err != nil || !reflect.DeepEqual(got, Default()) {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
}

func TestParseAlias(t *testing.T) {
	text := "members:\n- {name: a, data: &d [/x]}\n- {name: b, data: *d}\n"
	got, err := Parse("pilot.yaml", []byte(text), "/")
	if err != nil || got.Members[1].Data[0] != "/x" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestParseErrors(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"unknown key", "cluster: a\nmax_pause: 1s", `p.yaml:2: unknown key "max_pause", did you mean "max-pause"?`},
		{"far key", "colour: red", `p.yaml:1: unknown key "colour", known are cluster, members, checks, logs, egress, also-fail, preset, max-pause, timeout, settle, patience, trace, max-memory, max-disk, max-memory-pressure, max-io-pressure`},
		{"member key", "members:\n- nmae: x", `p.yaml:2: unknown key "nmae", did you mean "name"?`},
		{"check key", "checks:\n- {comand: x, command: y}", `p.yaml:2: unknown key "comand", did you mean "command"?`},
		{"merge key", "<<: {cluster: a}", `p.yaml:1: unknown key "<<", known are cluster, members, checks, logs, egress, also-fail, preset, max-pause, timeout, settle, patience, trace, max-memory, max-disk, max-memory-pressure, max-io-pressure`},
		{"twice", "cluster: a\ncluster: b", `p.yaml:2: cluster is given twice, first on line 1`},
		{"list", "- a", `p.yaml:1: the file must have the form "key: value", not a list`},
		{"scalar", "etcd", `p.yaml:1: the file must have the form "key: value", not "etcd"`},
		{"syntax", "cluster: [", `p.yaml:1: did not find expected node content`},
		{"binary", "cluster: \x00", `p.yaml: control characters are not allowed`},
		{"two documents", "cluster: a\n---\ncluster: b", `p.yaml:2: only one document is allowed`},
		{"no unit", "timeout: 5", `p.yaml:1: timeout: "5" is not a duration such as 250ms, 5s or 2m`},
		{"too short", "max-pause: 1us", `p.yaml:1: max-pause: 1us is less than 1ms`},
		{"no level", "trace: all", `p.yaml:1: trace: "all" is none of off, effects, full`},
		{"negative", "settle: -1s", `p.yaml:1: settle: -1s is negative`},
		{"size", "max-memory: 4 gigs", `p.yaml:1: max-memory: "4 gigs" is not a size such as 512M or 4G`},
		{"small size", "max-disk: 4096", `p.yaml:1: max-disk: 4096 is less than 1M`},
		{"share", "max-io-pressure: 120%", `p.yaml:1: max-io-pressure: "120%" is not a share of more than 0% and at most 100%`},
		{"size key", "max_memory: 4G", `p.yaml:1: unknown key "max_memory", did you mean "max-memory"?`},
		{"not text", "cluster: [a]", `p.yaml:1: cluster must be text, not a list`},
		{"nothing", "cluster:", `p.yaml:1: cluster must be text, not nothing`},
		{"empty text", `cluster: ""`, `p.yaml:1: cluster is empty`},
		{"nul", `cluster: "a\0b"`, `p.yaml:1: cluster holds a NUL byte`},
		{"members not list", "members: etcd", `p.yaml:1: members must be a list, not "etcd"`},
		{"no members", "members: []", `p.yaml:1: members is empty`},
		{"member scalar", "members: [etcd]", `p.yaml:1: a member must have the form "key: value", not "etcd"`},
		{"member nothing", "members:\n- {}", `p.yaml:2: a member has neither match nor pid, and a node that is down needs a name`},
		{"member no data", "members:\n- name: a", `p.yaml:2: member "a" has neither match nor pid, and a node that is down needs data`},
		{"match and pid", "members:\n- {name: a, match: b, pid: 1}", `p.yaml:2: member "a" has both match and pid, give one`},
		{"pid and command", "members:\n- {pid: 1, command: b}", `p.yaml:2: a member has both pid and command; command is for a node that is down`},
		{"command alone", "members:\n- {match: a, command: b}", `p.yaml:2: a member has a command, so it may be down and needs name and data as well`},
		{"member twice", "members:\n- {name: a, pid: 1}\n- {name: a, pid: 2}", `p.yaml:3: member "a" is given twice, first on line 2`},
		{"bad pid", "members:\n- {pid: -4}", `p.yaml:2: pid: "-4" is not a process id`},
		{"root as data", "members:\n- {pid: 1, data: /..}", `p.yaml:2: data: / cannot be copied, name the directory that the member writes to`},
		{"data keys", "members:\n- {pid: 1, data: {a: b}}", `p.yaml:2: data must be a list, not keys and values`},
		{"egress list", "egress: {a: b}", `p.yaml:1: egress must be a list, not keys and values`},
		{"egress half", "egress:\n- {peer: a}", `p.yaml:2: an egress rule needs a peer and a policy`},
		{"egress policy", "egress:\n- {peer: a, policy: allow}", `p.yaml:2: "allow" is not deny, allow-read, stub or refuse-run`},
		{"egress peer", "egress:\n- {peer: a b, policy: deny}", `p.yaml:2: "a b" is not a peer such as db.example:5432, 10.0.0.7:443, 10.0.0.0/8 or *`},
		{"egress reply", "egress:\n- {peer: a, policy: deny, reply: b}", `p.yaml:2: reply is for the policy stub`},
		{"egress key", "egress:\n- {pear: a}", `p.yaml:2: unknown key "pear", did you mean "peer"?`},
		{"check pattern", "checks:\n- {command: x, expect: '('}", "p.yaml:2: expect: error parsing regexp: missing closing ): `(`"},
		{"check truth", "checks:\n- {command: x, preserve: maybe}", `p.yaml:2: preserve must be true or false`},
		{"check empty", "checks:\n- name: a", `p.yaml:2: a check needs a command, or http, tcp or file`},
		{"check asked twice", "checks:\n- {tcp: 'a:1', command: b}", `p.yaml:2: a check asks in one way, not by tcp and command`},
		{"check when", "checks:\n- {command: b, when: never}", `p.yaml:2: when: "never" is none of before, after, always`},
		{"check compared with nothing", "checks:\n- {command: b, when: after, preserve: true}", `p.yaml:2: preserve and not-less compare before with after, so that when: after cannot be`},
		{"check before the same", "checks:\n- {command: b, when: before, same-as-control: true}", `p.yaml:2: same-as-control is about what comes after the action`},
		{"log rule", "logs:\n- {severity: error}", `p.yaml:2: a rule about logs needs a pattern that it forbids or requires, and one only`},
		{"log rule twice", "logs:\n- {forbid: a, require: b}", `p.yaml:2: a rule about logs needs a pattern that it forbids or requires, and one only`},
		{"log pattern", "logs:\n- {forbid: '('}", "p.yaml:2: forbid: error parsing regexp: missing closing ): `(`"},
		{"log severity", "logs:\n- {forbid: a, severity: info}", `p.yaml:2: severity: "info" is neither error nor warning`},
		{"check twice", "checks: [a, a]", `p.yaml:1: check "a" is given twice, first on line 1`},
		{"check list", "checks: [[a]]", `p.yaml:1: a check must have the form "key: value", not a list`},
		{"two errors", "timeout: x\nsettel: 1s", "p.yaml:1: timeout: \"x\" is not a duration such as 250ms, 5s or 2m\np.yaml:2: unknown key \"settel\", did you mean \"settle\"?"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse("p.yaml", []byte(tt.text), "/")
			if err == nil {
				t.Fatalf("no error, got %+v", c)
			}
			if got := err.Error(); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, DefaultFile)
	if err := os.WriteFile(path, []byte("members: [{name: a, data: d}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil || c.Members[0].Data[0] != filepath.Join(dir, "d") {
		t.Errorf("got %+v, %v", c, err)
	}
	_, err = Load(filepath.Join(dir, "none"))
	if !os.IsNotExist(unwrap(err)) || strings.Count(err.Error(), "none") != 1 {
		t.Errorf("got %v", err)
	}
}

func unwrap(err error) error {
	u, ok := err.(interface{ Unwrap() error })
	if !ok {
		return err
	}
	return u.Unwrap()
}

func TestParseEgress(t *testing.T) {
	got, err := ParseEgress("[::1]:80=allow-read")
	if err != nil || got != (Egress{Peer: "[::1]:80", Policy: "allow-read"}) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, text := range []string{"", "a", "=deny", "a=", "a=allow", "a b=deny"} {
		if got, err := ParseEgress(text); err == nil {
			t.Errorf("%q is taken for %+v", text, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("members: &m\n- *m"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("p.yaml", text, "/")
		if (c == nil) == (err == nil) {
			t.Fatalf("got %v and %v", c, err)
		}
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				if !strings.HasPrefix(line, "p.yaml:") {
					t.Errorf("line without a place: %q", line)
				}
			}
			return
		}
		for _, m := range c.Members {
			if p := m.problem(); p != "" {
				t.Errorf("accepted a member with a problem: %s", p)
			}
		}
		if c.MaxPause < lowPause || c.Timeout < lowTimeout || c.Settle < 0 {
			t.Errorf("accepted %v, %v, %v", c.MaxPause, c.Timeout, c.Settle)
		}
	})
}
