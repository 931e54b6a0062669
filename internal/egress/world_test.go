//go:build linux

package egress

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/worldinit"
	"github.com/vishvananda/netlink"
)

// inNetwork marks the test binary that runs in a network of its own.
const inNetwork = "PILOT_EGRESS_NETWORK"

// TestMain has the privileged tests run in a fresh network namespace, which is
// what production's network is to them.
func TestMain(m *testing.M) {
	worldinit.Reexec()
	if len(os.Args) > 2 && os.Args[1] == verb {
		act(os.Args[2], os.Args[3:])
		return
	}
	if os.Geteuid() != 0 || os.Getenv(inNetwork) != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inNetwork+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // the signal comes when the thread ends
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(cmd.ProcessState.ExitCode())
}

// privileged skips t without root, and fails it where it must run.
func privileged(t *testing.T) {
	t.Helper()
	switch {
	case os.Geteuid() == 0:
	case os.Getenv("PILOT_REQUIRE_PRIVILEGED") != "":
		t.Fatal("privileged test cannot run: not root")
	default:
		t.Skip("needs root")
	}
}

// The network of the tests. The host has ownAddr. outside4 and outside6 are
// peers in the Internet: no interface has them, but servers of the test can
// listen there. Everything else would be seen on the wire.
const (
	hostName = "rule.invalid" // in names that the tests have the host ask for
	ownAddr  = "10.99.0.1"
	outside4 = "10.77.0.7"
	outside6 = "2001:db8:77::7"
)

// A wire is the host's cable: what is sent on it is kept.
type wire struct {
	mu   sync.Mutex // guards what follows
	sent []string
}

func (w *wire) packets() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.sent...)
}

var production struct { // of this test process, made once
	sync.Once
	wire *wire
	err  error
}

// network builds the network once, and wants nothing on the wire at t's end.
func network(t *testing.T) *wire {
	t.Helper()
	privileged(t)
	production.Do(func() { production.wire, production.err = buildNetwork() })
	if production.err != nil {
		t.Fatal(production.err)
	}
	t.Cleanup(func() {
		if sent := production.wire.packets(); len(sent) > 0 {
			t.Errorf("production's network saw %q", sent)
		}
	})
	return production.wire
}

func buildNetwork() (*wire, error) {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return nil, err
	}
	tun, err := sys.OpenTUN("wire0")
	if err != nil {
		return nil, err
	}
	cable, err := netlink.LinkByName("wire0")
	if err != nil {
		return nil, err
	}
	for _, a := range []string{ownAddr + "/24", "2001:db8:99::1/64"} {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			return nil, err
		}
		addr.Flags = syscall.IFA_F_NODAD
		if err := netlink.AddrAdd(cable, addr); err != nil {
			return nil, err
		}
	}
	if err := netlink.LinkSetUp(cable); err != nil {
		return nil, err
	}
	for _, r := range []struct {
		to   string
		over netlink.Link
		kind int
	}{
		{"0.0.0.0/0", cable, syscall.RTN_UNICAST}, {"::/0", cable, syscall.RTN_UNICAST},
		{outside4 + "/32", lo, syscall.RTN_LOCAL}, {outside6 + "/128", lo, syscall.RTN_LOCAL},
	} {
		_, to, err := net.ParseCIDR(r.to)
		if err != nil {
			return nil, err
		}
		route := &netlink.Route{LinkIndex: r.over.Attrs().Index, Dst: to, Type: r.kind}
		if r.kind == syscall.RTN_LOCAL {
			route.Table, route.Scope = syscall.RT_TABLE_LOCAL, netlink.SCOPE_HOST
		}
		if err := netlink.RouteAdd(route); err != nil {
			return nil, fmt.Errorf("route to %s: %w", r.to, err)
		}
	}
	w := &wire{}
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, err := tun.Read(buf)
			if err != nil {
				return
			}
			p, ok := parse(buf[:n])
			if !ok || p.housekeeping() {
				continue
			}
			// The host itself asks for the names of rules, and is told no.
			if q, err := parseQuestion(p.data); err == nil && p.dst.Port() == 53 && strings.Contains(q.name, hostName) {
				_, _ = tun.Write(p.reply(q.answer(rcodeRefused, nil)))
				continue
			}
			w.mu.Lock()
			w.sent = append(w.sent, p.target())
			w.mu.Unlock()
		}
	}()
	return w, nil
}

// A world is an empty one with a gateway.
type world struct {
	*Gateway
	init  *worldinit.Process
	dir   string
	began time.Time
}

// newWorld starts a world with the host's addresses and a gateway by rules.
func newWorld(t *testing.T, rules ...model.EgressRule) *world {
	t.Helper()
	return newWorldOf(t, Host{
		Servers: []netip.Addr{netip.MustParseAddr("127.0.0.53"), netip.MustParseAddr("10.255.255.53")},
		Names:   map[string][]netip.Addr{"node1.example": {netip.MustParseAddr(ownAddr)}},
	}, rules...)
}

func newWorldOf(t *testing.T, host Host, rules ...model.EgressRule) *world {
	t.Helper()
	network(t)
	w := &world{dir: t.TempDir(), began: time.Now()}
	var err error
	w.init, err = worldinit.Start(worldinit.Config{Addresses: []string{ownAddr + "/32", "2001:db8:99::1/128"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.init.Kill(); err != nil {
			t.Error(err)
		}
		if w.Gateway != nil {
			w.Gateway.Close()
		}
		if err := w.init.Wait(); err != nil {
			t.Error(err)
		}
	})
	list, refusals, err := Rules(t.Context(), rules)
	if err != nil || len(refusals) > 0 {
		t.Fatal(err, refusals)
	}
	if w.Gateway, err = Start(Config{Init: w.init.PID(), Rules: list, Host: host}); err != nil {
		t.Fatal(err)
	}
	return w
}

// run runs a command in the world to its end.
func (w *world) run(t *testing.T, args ...string) (pid int, output string) {
	t.Helper()
	out, err := os.Create(filepath.Join(w.dir, "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := w.init.Command(args, os.Environ(), "/", out); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(30 * time.Second)
	for {
		select {
		case e := <-w.init.Events:
			switch {
			case e.Kind == "failed":
				t.Fatalf("%q: %s", args, e.Err)
			case e.Kind == "started":
				pid = e.PID
			case e.Kind == "exit" && e.PID == pid:
				text, err := os.ReadFile(out.Name())
				if err != nil {
					t.Fatal(err)
				}
				return pid, string(text)
			}
		case <-deadline:
			t.Fatalf("%q does not end", args)
		}
	}
}

// act runs one of the test binary's verbs in the world.
func (w *world) act(t *testing.T, args ...string) (pid int, output string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return w.run(t, append([]string{self, verb}, args...)...)
}

// wait returns the attempts as soon as there are n.
func (w *world) wait(t *testing.T, n int) []model.Attempt {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		list := w.Attempts(w.began)
		if len(list) >= n {
			return list
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d attempts, want %d: %+v", len(list), n, list)
		}
	}
}

// want fails t unless there is exactly one attempt, and it is this.
func (w *world) want(t *testing.T, pid int, op, target, answer string) {
	t.Helper()
	list := w.wait(t, 1)
	a := list[0]
	if len(list) != 1 || a.PID != pid || a.Op != op || a.Target != target || a.Answer != answer || a.Count < 1 || a.At <= 0 {
		t.Errorf("attempts %+v, want %s of %s by pid %d, answered %s", list, op, target, pid, answer)
	}
	if pid != 0 && !strings.Contains(a.Process, verb) {
		t.Errorf("process is %q", a.Process)
	}
}

// verb makes the test binary a client that says what it got.
const verb = "egress-client"

// act is the client. It prints one line: how it went.
func act(what string, args []string) {
	began := time.Now()
	said, err := clients[what](args)
	took := time.Since(began).Round(time.Millisecond)
	if err != nil {
		said = "error: " + err.Error()
	}
	fmt.Printf("%s\n%d ms\n", said, took.Milliseconds())
}

var clients = map[string]func([]string) (string, error){
	"dial": func(a []string) (string, error) {
		c, err := net.DialTimeout(a[0], a[1], 5*time.Second)
		if err != nil {
			return "", err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		if len(a) > 2 {
			if _, err := io.WriteString(c, a[2]); err != nil {
				return "", err
			}
		}
		if a[0][:3] == "udp" {
			buf := make([]byte, 2000)
			n, err := c.Read(buf)
			return string(buf[:n]), err
		}
		b, err := io.ReadAll(c)
		return string(b), err
	},
	"http": func(a []string) (string, error) {
		body := io.Reader(nil)
		if len(a) > 2 {
			body = strings.NewReader(a[2])
		}
		req, err := http.NewRequest(a[0], a[1], body)
		if err != nil {
			return "", err
		}
		client := http.Client{Timeout: 5 * time.Second}
		r, err := client.Do(req)
		if err != nil {
			return "", err
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		return fmt.Sprintf("%d %s", r.StatusCode, b), err
	},
	"resolve": func(a []string) (string, error) {
		r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, a[0], a[1])
		}}
		addrs, err := r.LookupHost(context.Background(), a[2])
		return strings.Join(addrs, " "), err
	},
	// raw sends an echo request by a raw socket, as ping may do. Being connected,
	// it is told of errors.
	"raw": func(a []string) (string, error) {
		c, err := net.Dial(a[0], a[1])
		if err != nil {
			return "", err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		b := []byte{8, 0, 0, 0, 0, 1, 0, 1}
		b[2], b[3] = byte(sum(b, 0)>>8), byte(sum(b, 0))
		if _, err := c.Write(b); err != nil {
			return "", err
		}
		// What comes back is an error message, which a raw socket reads.
		_, err = c.Read(make([]byte, 1500))
		return "an answer", err
	},
	// send sends a datagram and stays a moment, so that it can be found.
	"send": func(a []string) (string, error) {
		c, err := net.Dial(a[0], a[1])
		if err != nil {
			return "", err
		}
		defer c.Close()
		_, err = io.WriteString(c, "hello")
		time.Sleep(300 * time.Millisecond)
		return "sent", err
	},
}
