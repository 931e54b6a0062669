//go:build linux

package testcluster

import (
	"net"
	"slices"
	"testing"
)

func TestParseStatus(t *testing.T) {
	const out = `{"system":"redis","healthy":true,"leader":"127.0.0.1:1","term":18446744073709551615,
		"election":"replication=127.0.0.1:1@18446744073709551615","size":2,"keys":3,"last":2,
		"members":[{"endpoint":"127.0.0.1:1","role":"leader","term":7,"revision":9,"index":9}]}`
	st, err := ParseStatus([]byte(out))
	if err != nil {
		t.Fatal(err)
	}
	if !st.Healthy || st.Leader != "127.0.0.1:1" || st.Term != 1<<64-1 || st.Size != 2 || len(st.Members) != 1 {
		t.Errorf("got %+v", st)
	}
	for _, bad := range []string{"", "sysprobe: no", `{"helthy":true}`} {
		if _, err := ParseStatus([]byte(bad)); err == nil {
			t.Errorf("%q is a status", bad)
		}
	}
}

func TestCommands(t *testing.T) {
	c := &Cluster{Kind: NATS, bin: Paths{Sysprobe: "/p"}, Members: []*Member{
		{Client: "h:1", Monitor: "h:2"}, {Client: "h:3", Monitor: "h:4"},
	}}
	want := []string{"/p", "nats", "verify", "-endpoints", "h:1,h:3", "-monitors", "h:2,h:4", "-record", "r"}
	if got := c.VerifyCommand("r"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	c.Kind = ZooKeeper
	want = []string{"/p", "zk", "health", "-endpoints", "h:1,h:3"}
	if got := c.HealthCommand(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFreePorts(t *testing.T) {
	ports, err := freePorts(9)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(ports)
	if len(slices.Compact(ports)) != 9 {
		t.Errorf("ports %v", ports)
	}
	for _, p := range ports {
		l, err := net.Listen("tcp", loopback(p))
		if err != nil {
			t.Error(err)
			continue
		}
		l.Close()
	}
}
