//go:build linux

package egress

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// quick is how soon a program is told that it cannot leave, and soon is when the
// kernel would have sent a lost segment again: on a machine with much else to do
// nothing less can be wanted of a single try.
const (
	quick = 100 * time.Millisecond
	soon  = 950 * time.Millisecond
)

// says fails t unless a client said what, soon enough.
func says(t *testing.T, output, what string, limit time.Duration) {
	t.Helper()
	if !strings.Contains(output, what) {
		t.Errorf("the client says %q, want %q", output, what)
	}
	if d := waited(t, output); d > limit {
		t.Errorf("the client waited %v: %s", d, output)
	}
}

// waited is what a client says last.
func waited(t *testing.T, output string) time.Duration {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(output, " ms\n"), "\n")
	ms, err := strconv.Atoi(lines[len(lines)-1])
	if err != nil {
		t.Fatalf("the client says %q", output)
	}
	return time.Duration(ms) * time.Millisecond
}

func TestPrivDeny(t *testing.T) {
	for name, c := range map[string]struct {
		args             []string
		op, target, said string
		answer           string
	}{
		"tcp4":     {[]string{"dial", "tcp4", "10.0.0.7:443"}, "connect", "tcp 10.0.0.7:443", "no route to host", "EHOSTUNREACH"},
		"tcp6":     {[]string{"dial", "tcp6", "[2001:db8::7]:443"}, "connect", "tcp [2001:db8::7]:443", "permission denied", "EACCES"},
		"outside4": {[]string{"dial", "tcp4", outside4 + ":80"}, "connect", "tcp " + outside4 + ":80", "no route to host", "EHOSTUNREACH"},
		"udp4":     {[]string{"dial", "udp4", "10.0.0.7:514", "x"}, "send", "udp 10.0.0.7:514", "no route to host", "EHOSTUNREACH"},
		"udp6":     {[]string{"dial", "udp6", "[2001:db8::7]:514", "x"}, "send", "udp [2001:db8::7]:514", "permission denied", "EACCES"},
		"icmp":     {[]string{"raw", "ip4:icmp", "10.0.0.7"}, "send", "icmp 10.0.0.7", "no route to host", "EHOSTUNREACH"},
		"gre":      {[]string{"send", "ip4:47", "10.0.0.7"}, "send", "ip protocol 47 10.0.0.7", "sent", "EHOSTUNREACH"},
		"group4":   {[]string{"send", "udp4", "239.1.2.3:5000"}, "send", "udp 239.1.2.3:5000", "sent", "dropped"},
		"group6":   {[]string{"send", "udp6", "[ff0e::1:2]:5000"}, "send", "udp [ff0e::1:2]:5000", "sent", "dropped"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			pid, output := w.act(t, c.args...)
			limit := soon
			if c.said == "sent" {
				limit = 5 * time.Second
			}
			says(t, output, c.said, limit)
			w.want(t, pid, c.op, c.target, c.answer)
		})
	}
}

// TestPrivQuick takes the time of what is denied: the best of some tries.
func TestPrivQuick(t *testing.T) {
	w := newWorld(t)
	for _, args := range [][]string{
		{"dial", "tcp4", "10.0.0.7:443"}, {"dial", "tcp6", "[2001:db8::7]:443"}, {"dial", "udp4", "10.0.0.7:514", "x"},
		{"resolve", "udp", "127.0.0.53:53", "db.example."}, {"resolve", "udp", "10.255.255.53:53", "db.example."},
	} {
		best := time.Hour
		for range 7 {
			_, output := w.act(t, args...)
			best = min(best, waited(t, output))
		}
		if best > quick {
			t.Errorf("%q: told after %v", args, best)
		}
		t.Logf("%q: %v", args, best)
	}
}

// TestPrivInside wants that what a world has itself is not the gateway's
// business.
func TestPrivInside(t *testing.T) {
	w := newWorld(t)
	for _, addr := range []string{ownAddr + ":9", "127.0.0.1:9", "[::1]:9", "[2001:db8:99::1]:9"} {
		_, output := w.act(t, "dial", "tcp", addr)
		says(t, output, "connection refused", soon)
	}
	if list := w.Attempts(w.began); len(list) > 0 {
		t.Errorf("attempts %+v", list)
	}
}

// TestPrivBursts counts what comes from processes that are soon gone.
func TestPrivBursts(t *testing.T) {
	w := newWorld(t)
	const tries = 50
	for range tries {
		w.act(t, "dial", "udp4", "10.0.0.7:514", "x")
	}
	n := 0
	for _, a := range w.wait(t, 1) {
		n += a.Count
	}
	if n != tries {
		t.Errorf("%d attempts, want %d", n, tries)
	}
}

func TestPrivStub(t *testing.T) {
	w := newWorld(t,
		model.EgressRule{Peer: "10.0.0.7:80", Policy: "stub", Reply: "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"},
		model.EgressRule{Peer: "2001:db8::/32", Policy: "stub", Reply: "hello\n"},
		model.EgressRule{Peer: "10.0.0.8", Policy: "stub", Reply: "pong"},
		model.EgressRule{Peer: "mail.rule.invalid:25", Policy: "stub", Reply: "220 ready\r\n"})
	_, output := w.act(t, "http", "POST", "http://10.0.0.7/x", "body")
	says(t, output, "204", soon)
	_, output = w.act(t, "dial", "tcp6", "[2001:db8::7]:25")
	says(t, output, "hello", 5*time.Second)
	_, output = w.act(t, "dial", "udp4", "10.0.0.8:514", "ping")
	says(t, output, "pong", soon)
	_, output = w.act(t, "resolve", "udp", "127.0.0.53:53", "mail.rule.invalid")
	says(t, output, "198.18.1.0", soon)
	_, output = w.act(t, "dial", "tcp4", "198.18.1.0:25")
	says(t, output, "220 ready", 5*time.Second)
	var got []string
	for _, a := range w.wait(t, 5) {
		got = append(got, a.Op+" "+a.Target)
		if a.Denied() || a.By != byPolicy || a.PID == 0 {
			t.Errorf("attempt %+v", a)
		}
	}
	want := []string{"connect tcp 10.0.0.7:80", "connect tcp [2001:db8::7]:25", "send udp 10.0.0.8:514", "resolve mail.rule.invalid", "connect tcp mail.rule.invalid:25"}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("got %q", got)
	}
	_, output = w.act(t, "dial", "tcp4", "10.0.0.7:81")
	says(t, output, "no route to host", soon)
}

// A server is a peer in the Internet.
type server struct {
	mu   sync.Mutex // guards what follows
	seen []string
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, r.Method+" "+r.Host+r.URL.Path+" "+string(b))
	if r.URL.Path == "/large" {
		_, _ = w.Write(make([]byte, 3<<20))
		return
	}
	fmt.Fprintf(w, "hello from %s", r.Host)
}

func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.seen...)
}

// serve listens outside, until t ends.
func serve(t *testing.T, addr string) (*server, string) {
	t.Helper()
	network(t)
	l, err := net.Listen("tcp", "[::]:0") // IPv6 cannot bind to an address that only a route has
	if err != nil {
		t.Fatal(err)
	}
	s := &server{}
	h := &http.Server{Handler: s}
	go h.Serve(l)
	t.Cleanup(func() { _ = h.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return s, net.JoinHostPort(addr, port)
}

func TestPrivAllowRead(t *testing.T) {
	for _, outside := range []string{outside4, outside6} {
		s, addr := serve(t, outside)
		w := newWorld(t, model.EgressRule{Peer: addr, Policy: "allow-read"})
		_, output := w.act(t, "http", "GET", "http://"+addr+"/x")
		says(t, output, "200 hello from "+addr, 5*time.Second)
		_, output = w.act(t, "http", "HEAD", "http://"+addr+"/x")
		says(t, output, "200", 5*time.Second)
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
			_, output = w.act(t, "http", method, "http://"+addr+"/x", "body")
			says(t, output, "403 pilot: only GET, HEAD and OPTIONS", 5*time.Second)
		}
		_, output = w.act(t, "http", "GET", "http://"+addr+"/x", "body")
		says(t, output, "403 pilot: a request with a body", 5*time.Second)
		_, output = w.act(t, "http", "GET", "https://"+addr+"/x")
		says(t, output, "connection reset", 5*time.Second)
		_, output = w.act(t, "http", "GET", "http://"+addr+"/large")
		if !strings.HasPrefix(output, "200 ") || len(output) < 3<<20 {
			t.Errorf("%d bytes of an answer", len(output))
		}
		want := "GET " + addr + "/x , HEAD " + addr + "/x , GET " + addr + "/large "
		if got := strings.Join(s.requests(), ", "); got != want {
			t.Errorf("outside saw %q, want %q", got, want)
		}
		denied := map[string]bool{}
		for _, a := range w.Attempts(w.began) {
			if a.Denied() {
				denied[a.Op+" "+a.Answer] = true
			}
			if a.PID == 0 || a.Target != "tcp "+addr {
				t.Errorf("attempt %+v", a)
			}
		}
		for _, want := range []string{"http POST 403: only GET, HEAD and OPTIONS are passed on", "tls ECONNRESET: TLS cannot be looked into"} {
			if !denied[want] {
				t.Errorf("%q is not among %v", want, denied)
			}
		}
	}
}

// TestPrivReadNobody reads from a peer that is not there.
func TestPrivReadNobody(t *testing.T) {
	w := newWorld(t, model.EgressRule{Peer: outside4 + ":9", Policy: "allow-read"})
	_, output := w.act(t, "http", "GET", "http://"+outside4+":9/")
	says(t, output, "502 pilot: connection refused", 5*time.Second)
	if list := w.wait(t, 2); !list[1].Denied() || list[1].Answer != "502: connection refused" {
		t.Errorf("attempts %+v", list)
	}
}

func TestPrivRefuseRun(t *testing.T) {
	w := newWorld(t, model.EgressRule{Peer: "10.0.0.0/8", Policy: "refuse-run"})
	select {
	case <-w.Refused():
		t.Fatal("refused before anything was tried")
	default:
	}
	pid, output := w.act(t, "dial", "tcp4", "10.0.0.7:443")
	says(t, output, "no route to host", soon)
	w.want(t, pid, "connect", "tcp 10.0.0.7:443", model.AnswerRefused)
	select {
	case <-w.Refused():
	case <-time.After(time.Second):
		t.Error("nobody was told")
	}
}

// TestPrivFlood sends faster than processes can be found.
func TestPrivFlood(t *testing.T) {
	w := newWorld(t)
	for i := range 300 {
		dst := netip.AddrPortFrom(netip.MustParseAddr("10.0.0.7"), uint16(1000+i))
		p, _ := parse(segment(netip.MustParseAddrPort(ownAddr+":9999"), dst, flagSYN, 1, ""))
		w.handle(&p, sender{})
	}
	if list := w.Attempts(w.began); len(list) != 300 || list[0].PID != 0 {
		t.Errorf("%d attempts", len(list))
	}
}
