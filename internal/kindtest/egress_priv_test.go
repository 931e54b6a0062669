//go:build linux

package kindtest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/agent"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/testenv"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// elsewhere is an address that no interface of a scene has: programs of the
// scene reach it, and it is outside for a world. Nobody has nowhere.
const (
	ownAddress = "10.99.0.1"
	elsewhere  = "10.77.0.7"
	nowhere    = "10.88.0.7:443"
)

// visitVerb makes the test binary send a request, and fail when it is not
// answered well.
const visitVerb = "visit"

func visit(method, url string) {
	req, err := http.NewRequest(method, url, nil)
	if err == nil {
		var r *http.Response
		if r, err = http.DefaultClient.Do(req); err == nil && r.StatusCode != http.StatusOK {
			err = fmt.Errorf("status %d", r.StatusCode)
		}
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// An internet is what is outside of the cluster.
type internet struct {
	echo, web string // addresses
	local     string // that of web on the loopback device

	mu       sync.Mutex // guards what follows
	requests []string   // to web
	accepted int        // by echo
}

func (n *internet) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.requests = append(n.requests, r.Method+" "+r.URL.Path)
}

// newInternet gives the scene an outside, with a server that echoes and one for
// the web.
func newInternet(t *testing.T, s *scene) *internet {
	t.Helper()
	n := &internet{}
	var echo, web, local net.Listener
	err := s.space.Do(func() (err error) {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(ownAddress + "/32")
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(lo, addr); err != nil {
			return err
		}
		to := &net.IPNet{IP: net.ParseIP(elsewhere), Mask: net.CIDRMask(32, 32)}
		err = netlink.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: to, Src: addr.IP,
			Type: syscall.RTN_LOCAL, Table: syscall.RT_TABLE_LOCAL, Scope: netlink.SCOPE_HOST})
		if err != nil {
			return err
		}
		if echo, err = net.Listen("tcp", elsewhere+":0"); err != nil {
			return err
		}
		if web, err = net.Listen("tcp", elsewhere+":0"); err != nil {
			return err
		}
		local, err = net.Listen("tcp", "127.0.0.1:0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	n.echo, n.web, n.local = echo.Addr().String(), web.Addr().String(), local.Addr().String()
	server := &http.Server{Handler: n}
	go server.Serve(web)
	go server.Serve(local)
	t.Cleanup(func() { _, _ = echo.Close(), server.Close() })
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			n.mu.Lock()
			n.accepted++
			n.mu.Unlock()
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	return n
}

// pilot is the agent's part of a whole run.
func (o *outcome) pilot(ctx context.Context, req request) {
	spec := *req.Run
	spec.Members, spec.Env, spec.Dir = req.Members, os.Environ(), "/"
	spec.MaxPause, spec.Timeout, spec.Settle = 500*time.Millisecond, testenv.Patience, time.Second
	r, err := agent.Engine{}.Run(ctx, spec, filepath.Join(req.Dir, "run"), func(string, string) {})
	if err != nil {
		o.problem("%v", err)
		return
	}
	o.Report = r
}

// TestPrivEgress pilots actions that want something of the outside, for a member
// that has a connection there.
func TestPrivEgress(t *testing.T) {
	s := newScene(t)
	n := newInternet(t, s)
	s.play(t, member{kind: "outside", prepare: func(_ *scene, dir string) error {
		return os.WriteFile(filepath.Join(dir, "address"), []byte(n.echo), 0o644)
	}})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Under a name of its own: what runs a member's program counts as a member.
	visitor := filepath.Join(s.dir, "visitor")
	if err := os.Symlink(self, visitor); err != nil {
		t.Fatal(err)
	}
	get := func(method, addr string) []string {
		return []string{visitor, visitVerb, method, "http://" + addr + "/x"}
	}
	rule := func(peer, policy string) []model.EgressRule {
		return []model.EgressRule{{Peer: peer, Policy: policy}}
	}
	for _, c := range []struct {
		name   string
		action []string
		rules  []model.EgressRule
		status model.Status
		reason string // of the verdict
		effect string
		seen   []string // by the web server
	}{
		{"needed", get("GET", nowhere), nil, model.Unknown, "tried to connect to tcp " + nowhere, "tcp " + nowhere + " connect by visitor: EHOSTUNREACH", nil},
		{"ignored", []string{"sh", "-c", strings.Join(get("GET", nowhere), " ") + " || true"}, nil, model.Unknown,
			"tried to connect to tcp " + nowhere, "tcp " + nowhere + " connect by visitor: EHOSTUNREACH", nil},
		{"read", get("GET", n.web), rule(n.web, "allow-read"), model.Pass, "", "tcp " + n.web + " http GET by visitor: read", []string{"GET /x"}},
		{"written", get("POST", n.web), rule(n.web, "allow-read"), model.Unknown, "tried to use http POST with tcp " + n.web,
			"tcp " + n.web + " http POST by visitor: 403: only GET, HEAD and OPTIONS are passed on", nil},
		{"needed of the host", get("GET", n.local), nil, model.Unknown, "tried to connect to tcp " + n.local, "tcp " + n.local + " connect by visitor: ECONNRESET", nil},
		{"read of the host", get("GET", n.local), rule(n.local, "allow-read"), model.Pass, "", "tcp " + n.local + " http GET by visitor: read", []string{"GET /x"}},
		{"forbidden", get("GET", nowhere), rule(nowhere, "refuse-run"), model.Unknown, "no run may touch it", "tcp " + nowhere + " connect by visitor: refuse-run", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			n.mu.Lock()
			n.requests = nil
			accepted := n.accepted
			n.mu.Unlock()
			o := s.agent(t, request{Run: &model.Spec{Action: c.action, Egress: c.rules}})
			if o.Report == nil {
				t.Fatal(o.Problems)
			}
			v := o.Report.Verdict
			if v.Status != c.status || !strings.Contains(v.Reason, c.reason) || c.reason != "" && !strings.Contains(v.Reason, "visitor") {
				t.Errorf("verdict %s: %s\n%+v", v.Status, v.Reason, v.Findings)
			}
			if !slices.ContainsFunc(v.Effects, func(e model.Effect) bool { return e.Sign == "!" && plain(e) == c.effect }) {
				t.Errorf("effects %+v, want %q", v.Effects, c.effect)
			}
			if c.name != "forbidden" { // which may end before the member tries anything
				wantBackground(t, o.Report, s.members[0].PID, n.echo)
			}
			n.mu.Lock()
			defer n.mu.Unlock()
			if !slices.Equal(n.requests, c.seen) || n.accepted != accepted {
				t.Errorf("the outside saw %q and %d connections, want %q", n.requests, n.accepted-accepted, c.seen)
			}
		})
	}
	o := s.agent(t, request{Run: &model.Spec{Action: []string{"true"}, Egress: rule(n.echo, "refuse-run")}})
	if o.Report != nil || len(o.Problems) != 1 || !strings.Contains(o.Problems[0], n.echo) || !strings.Contains(o.Problems[0], "refuse-run") {
		t.Errorf("a run that touches a forbidden peer: %+v", o.Problems)
	}
	if _, bad := progress(s.logs[0]); len(bad) > 0 {
		t.Errorf("production noticed: %q", bad)
	}
	if text, err := os.ReadFile(s.logs[0]); err != nil || strings.Contains(string(text), "dead") {
		t.Errorf("production lost its connection: %v", err)
	}
	if sent := wireless(s); sent != "" {
		t.Error(sent)
	}
}

// wantBackground wants that what member pid does by itself is seen in both
// worlds, and is no effect of the action.
func wantBackground(t *testing.T, r *model.Report, pid int, addr string) {
	t.Helper()
	for _, w := range []model.World{r.Trial, r.Control} {
		if !slices.ContainsFunc(w.Attempts, func(a model.Attempt) bool {
			return a.Member == "outside" && a.PID == pid && a.Op == "connect" && a.Target == "tcp "+addr && a.Answer == "EHOSTUNREACH"
		}) {
			t.Errorf("%s: attempts %+v, none by the member to %s", w.Name, w.Attempts, addr)
		}
		if len(w.Incomplete) > 0 {
			t.Errorf("%s is incomplete: %q", w.Name, w.Incomplete)
		}
	}
	if !slices.ContainsFunc(r.Verdict.Findings, func(f model.Finding) bool {
		return f.Rule == "blocked" && f.Severity == model.Warning && f.Member == "outside" && f.Control == "tried there too"
	}) {
		t.Errorf("findings %+v", r.Verdict.Findings)
	}
	if slices.ContainsFunc(r.Verdict.Effects, func(e model.Effect) bool { return e.Member == "outside" }) {
		t.Errorf("effects %+v", r.Verdict.Effects)
	}
}

// TestPrivWithoutTUN pilots on a host that has no TUN devices: nothing leaves a
// world, but nobody can tell what was tried.
func TestPrivWithoutTUN(t *testing.T) {
	s := newScene(t)
	err := s.space.Do(func() error {
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			return err
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return err
		}
		return unix.Mount("tmpfs", "/dev/net", "tmpfs", 0, "")
	})
	if err != nil {
		t.Fatal(err)
	}
	s.play(t, member{kind: "eventfd"})
	o := s.agent(t, request{Run: &model.Spec{Action: []string{"true"}}})
	if o.Report == nil {
		t.Fatal(o.Problems)
	}
	v := o.Report.Verdict
	if v.Status != model.Unknown || !strings.Contains(v.Reason, "attempts to leave the world by network") || !strings.Contains(v.Reason, "/dev/net/tun") {
		t.Errorf("verdict %s: %s", v.Status, v.Reason)
	}
}

// plain is an effect without the pid.
func plain(e model.Effect) string {
	what, rest, _ := strings.Cut(e.Detail, ", pid ")
	_, answer, _ := strings.Cut(rest, ":")
	return e.Object + " " + what + ":" + answer
}

// wireless wants that the scene has no interface but its loopback: a gateway's
// device must be in the world, never in production's network.
func wireless(s *scene) (problem string) {
	err := s.space.Do(func() error {
		links, err := netlink.LinkList()
		for _, l := range links {
			if l.Attrs().Name != "lo" {
				problem = "production has the interface " + l.Attrs().Name
			}
		}
		return err
	})
	if err != nil {
		return err.Error()
	}
	return problem
}
