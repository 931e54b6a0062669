//go:build linux

package egress

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

const (
	readTimeout = 30 * time.Second // of a request to a real peer
	dialTimeout = 5 * time.Second
	maxRead     = 64 << 20 // bytes of an answer
)

// flowKey is the key of a request's flow in its context.
type flowKey struct{}

// A feed is a listener for connections that were accepted elsewhere.
type feed struct {
	conns chan net.Conn
	done  chan struct{}
}

func (f *feed) Accept() (net.Conn, error) {
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.done:
		return nil, net.ErrClosed
	}
}

func (f *feed) Close() error {
	select {
	case <-f.done:
	default:
		close(f.done)
	}
	return nil
}

func (f *feed) Addr() net.Addr { return &net.TCPAddr{} }

// A readConn is a connection whose first byte was looked at.
type readConn struct {
	*net.TCPConn
	r    *bufio.Reader
	flow *flow
	g    *Gateway
}

func (c *readConn) Read(b []byte) (int, error) { return c.r.Read(b) }

func (c *readConn) Close() error {
	c.g.drop(c.TCPConn)
	return nil
}

// startProxy makes the server that passes HTTP requests on.
func (g *Gateway) startProxy() {
	quiet := log.New(io.Discard, "", 0)
	g.feed = &feed{conns: make(chan net.Conn), done: make(chan struct{})}
	g.proxy = &http.Server{
		Handler: g.filter(&httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				r.Out.URL.Scheme, r.Out.URL.Host = "http", flowOf(r.In.Context()).server.String()
				r.Out.Host = r.In.Host
			},
			// The agent's own network is the host's: it dials on its usual threads.
			Transport:      &http.Transport{DialContext: dialReal, DisableKeepAlives: true, DisableCompression: true},
			ModifyResponse: g.passed,
			ErrorHandler:   g.failed,
			ErrorLog:       quiet,
		}),
		ReadHeaderTimeout: readTimeout,
		IdleTimeout:       readTimeout,
		ErrorLog:          quiet,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, flowKey{}, c.(*readConn).flow)
		},
	}
	g.wg.Go(func() { _ = g.proxy.Serve(g.feed) })
}

func flowOf(ctx context.Context) *flow { return ctx.Value(flowKey{}).(*flow) }

// dialReal connects to the real peer, by another of its addresses when the one
// that was chosen in the world cannot be reached from here.
func dialReal(ctx context.Context, _, _ string) (net.Conn, error) {
	f := flowOf(ctx)
	dialer := net.Dialer{Timeout: dialTimeout}
	c, err := dialer.DialContext(ctx, "tcp", f.server.String())
	for _, other := range f.rule.Addrs {
		if err == nil {
			break
		}
		if other != f.server.Addr() {
			c, err = dialer.DialContext(ctx, "tcp", netip.AddrPortFrom(other, f.server.Port()).String())
		}
	}
	return c, err
}

// serveRead hands a connection to the proxy. TLS is not for it: what could not be
// looked into could be anything.
func (g *Gateway) serveRead(c *net.TCPConn, f *flow) {
	const handshake = 0x16 // the type of TLS's first record, RFC 8446, 5.1
	r := bufio.NewReader(c)
	_ = c.SetReadDeadline(time.Now().Add(readTimeout))
	first, err := r.Peek(1)
	_ = c.SetReadDeadline(time.Time{})
	if err != nil {
		g.drop(c)
		return
	}
	if first[0] == handshake {
		g.record.add(f.from, "tls", g.serverOf(f), byPolicy, "ECONNRESET: TLS cannot be looked into")
		_ = c.SetLinger(0)
		g.drop(c)
		return
	}
	select {
	case g.feed.conns <- &readConn{c, r, f, g}:
	case <-g.feed.done:
		g.drop(c)
	}
}

// serverOf is how a flow's peer is shown.
func (g *Gateway) serverOf(f *flow) string {
	return g.target(&packet{proto: protoTCP, dst: f.server})
}

// filter lets requests through that only read, as far as their form can tell.
func (g *Gateway) filter(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		why := ""
		switch {
		case !slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions}, r.Method):
			why = "only GET, HEAD and OPTIONS are passed on"
		case r.ContentLength != 0 || len(r.TransferEncoding) > 0:
			why = "a request with a body is not passed on"
		case r.Header.Get("Upgrade") != "":
			why = "a change of protocol is not passed on"
		case r.URL.IsAbs():
			why = "a request through a proxy is not passed on"
		}
		if why == "" {
			ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
			defer cancel()
			next.ServeHTTP(w, r.WithContext(ctx))
			return
		}
		g.note(r, "403: "+why)
		w.Header().Set("Connection", "close")
		http.Error(w, "pilot: "+why+" from a world", http.StatusForbidden)
	})
}

func (g *Gateway) note(r *http.Request, answer string) {
	f := flowOf(r.Context())
	g.record.add(f.from, "http "+method(r.Method), g.serverOf(f), byPolicy, answer)
}

// method bounds what a client calls its method.
func method(name string) string { return name[:min(len(name), 16)] }

// passed notes an answer of the real peer, and bounds it.
func (g *Gateway) passed(r *http.Response) error {
	g.note(r.Request, model.AnswerRead)
	r.Body = &bounded{ReadCloser: r.Body, left: maxRead, over: func() {
		g.note(r.Request, fmt.Sprintf("cut: more than %d MiB", maxRead>>20))
	}}
	return nil
}

func (g *Gateway) failed(w http.ResponseWriter, r *http.Request, err error) {
	why := "the peer does not answer"
	var op *net.OpError
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		why = errno.Error()
	case errors.As(err, &op):
		why = op.Err.Error()
	}
	g.note(r, "502: "+why)
	http.Error(w, "pilot: "+why, http.StatusBadGateway)
}

// bounded ends a body with an error when it is too long.
type bounded struct {
	io.ReadCloser
	left int64
	over func()
}

var errTooLong = errors.New("answer is too long")

func (b *bounded) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, errTooLong
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left+1)])
	if b.left -= int64(n); b.left < 0 {
		b.over()
		return n - 1, errTooLong
	}
	return n, err
}
