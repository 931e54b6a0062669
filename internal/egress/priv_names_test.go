//go:build linux

package egress

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/testenv"
)

func TestPrivResolve(t *testing.T) {
	for name, server := range map[string][2]string{
		"local udp": {"udp", "127.0.0.53:53"}, "local tcp": {"tcp", "127.0.0.53:53"},
		"outside udp": {"udp", "10.255.255.53:53"}, "outside tcp": {"tcp", "10.255.255.53:53"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			_, output := w.act(t, "resolve", server[0], server[1], "node1.example")
			says(t, output, ownAddr, soon)
			if list := w.Attempts(w.began); len(list) > 0 {
				t.Errorf("attempts %+v", list)
			}
			pid, output := w.act(t, "resolve", server[0], server[1], "db.example.")
			says(t, output, "error: lookup db.example", 5*time.Second) // several questions
			w.want(t, pid, "resolve", "db.example", "REFUSED")
		})
	}
}

// TestPrivResolveC asks as C programs do, with the host's own files.
func TestPrivResolveC(t *testing.T) {
	if _, err := exec.LookPath("getent"); err != nil {
		t.Skip(err)
	}
	w := newWorld(t)
	w.cfg.Host.Servers = append(w.cfg.Host.Servers, ReadHost(t.Context(), nil, nil).Servers...)
	began := time.Now()
	_, output := w.run(t, "getent", "hosts", "db.example")
	if took := time.Since(began); took > time.Second || output != "" {
		t.Errorf("getent says %q after %v", output, took)
	}
	list := w.wait(t, 1)
	if a := list[0]; a.Op != "resolve" || a.Target != "db.example" || a.Process != "getent hosts db.example" {
		t.Errorf("attempts %+v", list)
	}
}

// TestPrivAsk has a query passed on to a real name server.
func TestPrivAsk(t *testing.T) {
	network(t)
	answers := netip.MustParseAddr("192.0.2.99")
	c, err := net.ListenPacket("udp", outside4+":53")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			if q, err := parseQuestion(buf[:n]); err == nil {
				_, _ = c.WriteTo(q.answer(rcodeOK, []netip.Addr{answers}), from)
			}
		}
	}()
	w := newWorld(t, model.EgressRule{Peer: outside4 + ":53", Policy: "allow-read"})
	pid, output := w.act(t, "resolve", "udp", outside4+":53", "db.example.")
	says(t, output, answers.String(), 5*time.Second)
	w.want(t, pid, "resolve", "db.example", model.AnswerRead)
}

// TestPrivRulesUnresolved refuses what cannot be told apart.
func TestPrivRulesUnresolved(t *testing.T) {
	network(t)
	rules, refusals, err := Rules(t.Context(), []model.EgressRule{
		{Peer: "localhost", Policy: "deny"}, {Peer: "nobody.rule.invalid", Policy: "stub"}, {Peer: "nobody.rule.invalid", Policy: "allow-read"},
	})
	if err != nil || len(refusals) != 1 || refusals[0].Kind != "nobody.rule.invalid" || len(rules) != 3 || len(rules[0].Addrs) == 0 {
		t.Errorf("got %+v, %+v, %v", rules, refusals, err)
	}
	if _, _, err := Rules(t.Context(), []model.EgressRule{{Peer: "a b", Policy: "deny"}}); err == nil {
		t.Error("a wrong peer is accepted")
	}
	if _, _, err := Rules(t.Context(), []model.EgressRule{{Peer: "a", Policy: "allow"}}); err == nil {
		t.Error("a wrong policy is accepted")
	}
}

// TestPrivHost knows the host by its names, and no one else.
func TestPrivHost(t *testing.T) {
	network(t)
	own := netip.MustParseAddr(ownAddr)
	h := ReadHost(t.Context(), []netip.Addr{own}, []string{"localhost", "other.rule.invalid", ownAddr, outside4})
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if len(h.Names["localhost"]) == 0 || len(h.Names[strings.ToLower(name)]) == 0 || len(h.Servers) == 0 {
		t.Errorf("got %+v", h)
	}
	if _, known := h.Names["other.rule.invalid"]; known || len(h.Names[outside4]) > 0 || !slices.Equal(h.Names[ownAddr], []netip.Addr{own}) {
		t.Errorf("got %+v", h)
	}
}

// TestPrivServices stands in for what the host has and the world lacks.
func TestPrivServices(t *testing.T) {
	network(t)
	var at []netip.AddrPort
	for _, addr := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"} {
		kind := "tcp"
		if addr == "0.0.0.0:0" {
			kind = "tcp4"
		}
		l, err := net.Listen(kind, addr)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		at = append(at, l.Addr().(*net.TCPAddr).AddrPort())
	}
	found, err := Services(os.Getpid(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range at {
		if !slices.Contains(found, a) {
			t.Errorf("%s is not among %v", a, found)
		}
	}
	if mine, err := Services(os.Getpid(), []int{os.Getpid()}); err != nil || len(mine) > 0 {
		t.Errorf("members' own: %v, %v", mine, err)
	}
	w := newWorldOf(t, Host{Services: append(found, netip.MustParseAddrPort("192.0.2.1:80"))},
		model.EgressRule{Peer: at[2].String(), Policy: "stub", Reply: "hello"}, model.EgressRule{Peer: at[3].Addr().String(), Policy: "refuse-run"})
	port := func(i int) string { return strconv.Itoa(int(at[i].Port())) }
	for _, addr := range []string{"127.0.0.1:" + port(0), ownAddr + ":" + port(1), "127.0.0.1:" + port(3), "[::1]:" + port(3)} {
		_, output := w.act(t, "dial", "tcp", addr, "x")
		says(t, output, "connection reset", soon)
	}
	_, output := w.act(t, "dial", "tcp", at[2].String())
	says(t, output, "hello", 5*time.Second)
	list := w.wait(t, 5)
	for i, want := range []string{"127.0.0.1:" + port(0), ownAddr + ":" + port(1), "127.0.0.1:" + port(3), "[::1]:" + port(3), at[2].String()} {
		if a := list[i]; a.Target != "tcp "+want || a.Denied() != (i < 4) || a.PID == 0 || a.Op != "connect" {
			t.Errorf("attempt %+v, want %s", a, want)
		}
	}
}

func TestPrivTouching(t *testing.T) {
	network(t)
	_, addr := serve(t, outside4)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	rules, _, err := Rules(t.Context(), []model.EgressRule{{Peer: addr, Policy: "refuse-run"}})
	if err != nil {
		t.Fatal(err)
	}
	self := os.Getpid()
	// Both ends are ours, as soon as it is accepted: a connection inside the cluster.
	testenv.WaitFor(t, "the connection is inside", func() bool {
		got, err := Touching([]int{self}, rules)
		if err != nil {
			t.Fatal(err)
		}
		return len(got) == 0
	})
	child := exec.Command("sleep", "60")
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	child.ExtraFiles = append(child.ExtraFiles, f)
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	got, err := Touching([]int{child.Process.Pid}, rules)
	if err != nil || len(got) != 1 || got[0].Peer.String() != addr || got[0].PID != child.Process.Pid {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := Touching([]int{child.Process.Pid}, nil); err != nil || got != nil {
		t.Errorf("got %v, %v", got, err)
	}
}
