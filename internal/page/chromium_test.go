package page

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds each wait for the browser.
const patience = 60 * time.Second

// A chromium is a browser without a window, steered over two pipes by the
// DevTools protocol (https://chromedevtools.github.io/devtools-protocol/): one
// JSON object after the other, each ended by a NUL.
type chromium struct {
	to io.Writer

	mu      sync.Mutex
	next    int                     // guarded by mu
	waiting map[int]chan devMessage // guarded by mu
	events  func(devMessage)        // guarded by mu
}

type devMessage struct {
	ID     int             `json:"id,omitempty"`
	Method string          `json:"method,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
	Session string `json:"sessionId,omitempty"`
}

// startChromium skips t where there is no chromium. Under
// PILOT_REQUIRE_PRIVILEGED it fails instead: green must mean that something ran.
func startChromium(t *testing.T) *chromium {
	t.Helper()
	path, err := exec.LookPath("chromium")
	switch {
	case err == nil:
	case os.Getenv("PILOT_REQUIRE_PRIVILEGED") != "":
		t.Fatal(err)
	default:
		t.Skip(err)
	}
	in, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	cmd := exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run", "--window-size=1280,1000",
		"--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe", "--user-data-dir="+home, "about:blank")
	cmd.Env = append(os.Environ(), "HOME="+home)
	cmd.ExtraFiles = []*os.File{in, out} // 3 and 4
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	out.Close()
	c := &chromium{to: to, waiting: map[int]chan devMessage{}}
	go c.read(from)
	t.Cleanup(func() {
		c.send("", "Browser.close", nil)
		hung := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		hung.Stop()
		to.Close()
		from.Close()
	})
	return c
}

func (c *chromium) read(from io.Reader) {
	in := bufio.NewReader(from)
	for {
		text, err := in.ReadBytes(0)
		if err != nil {
			return
		}
		var m devMessage
		if json.Unmarshal(text[:len(text)-1], &m) != nil {
			continue
		}
		c.mu.Lock()
		answer, events := c.waiting[m.ID], c.events
		delete(c.waiting, m.ID)
		c.mu.Unlock()
		if answer != nil {
			answer <- m
		} else if events != nil && m.Method != "" {
			events(m)
		}
	}
}

func (c *chromium) send(session, method string, params any) chan devMessage {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	answer := make(chan devMessage, 1)
	c.waiting[c.next] = answer
	m := map[string]any{"id": c.next, "method": method}
	if params != nil {
		m["params"] = params
	}
	if session != "" {
		m["sessionId"] = session
	}
	text, _ := json.Marshal(m)
	_, _ = c.to.Write(append(text, 0)) // who waits for the answer learns of it
	return answer
}

// A tab is one page that is open, and what it complained of and asked for.
type tab struct {
	t       *testing.T
	c       *chromium
	session string // written under mu, before there are events of it
	url     string
	loaded  chan struct{}

	mu       sync.Mutex
	trouble  []string // guarded by mu: console messages, exceptions, violations
	requests []string // guarded by mu
}

// open serves html from loopback, and nothing else, and loads it.
func (c *chromium) open(t *testing.T, html string) *tab {
	t.Helper()
	tb := &tab{t: t, c: c, loaded: make(chan struct{}, 1)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tb.mu.Lock()
		tb.requests = append(tb.requests, r.Method+" "+r.URL.Path)
		tb.mu.Unlock()
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, html)
	}))
	t.Cleanup(server.Close)
	tb.url = server.URL + "/"
	c.mu.Lock()
	c.events = tb.event
	c.mu.Unlock()
	var target struct {
		TargetID string `json:"targetId"`
	}
	tb.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct {
		SessionID string `json:"sessionId"`
	}
	tb.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	tb.mu.Lock()
	tb.session = attached.SessionID
	tb.mu.Unlock()
	t.Cleanup(func() { <-c.send("", "Target.closeTarget", map[string]any{"targetId": target.TargetID}) })
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		tb.call(domain+".enable", nil, nil)
	}
	tb.call("Emulation.setFocusEmulationEnabled", map[string]any{"enabled": true}, nil)
	tb.call("Page.navigate", map[string]any{"url": tb.url}, nil)
	select {
	case <-tb.loaded:
	case <-time.After(patience):
		t.Fatal("the page did not load")
	}
	return tb
}

func (tb *tab) event(m devMessage) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	if m.Session != tb.session {
		return // of a tab that is being closed
	}
	switch m.Method {
	case "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded":
		tb.trouble = append(tb.trouble, string(m.Params))
	case "Network.requestWillBeSent":
		var p struct{ Request struct{ URL string } }
		if json.Unmarshal(m.Params, &p); p.Request.URL != tb.url {
			tb.requests = append(tb.requests, "asked for "+p.Request.URL)
		}
	case "Page.loadEventFired":
		select {
		case tb.loaded <- struct{}{}:
		default:
		}
	}
}

// call calls a method of the protocol, and reads its result into out.
func (tb *tab) call(method string, params, out any) {
	tb.t.Helper()
	select {
	case m := <-tb.c.send(tb.session, method, params):
		if m.Error != nil {
			tb.t.Fatalf("%s: %s", method, m.Error.Message)
		}
		if out != nil {
			if err := json.Unmarshal(m.Result, out); err != nil {
				tb.t.Fatalf("%s: %v", method, err)
			}
		}
	case <-time.After(patience):
		tb.t.Fatalf("%s: no answer", method)
	}
}

// eval evaluates a script, which the page's policy does not bind, and reads
// what it comes to into out.
func (tb *tab) eval(script string, out any) {
	tb.t.Helper()
	var r struct {
		Result struct {
			Value json.RawMessage `json:"value"`
		} `json:"result"`
		Exception *struct {
			Text      string `json:"text"`
			Exception struct{ Description string }
		} `json:"exceptionDetails"`
	}
	tb.call("Runtime.evaluate", map[string]any{"expression": script, "returnByValue": true, "awaitPromise": true}, &r)
	if r.Exception != nil {
		tb.t.Fatalf("%s: %s %s", script, r.Exception.Text, r.Exception.Exception.Description)
	}
	if out != nil {
		if err := json.Unmarshal(r.Result.Value, out); err != nil {
			tb.t.Fatalf("%s: %v in %s", script, err, r.Result.Value)
		}
	}
}

// press presses and releases a key.
func (tb *tab) press(key string, code int, text string) {
	tb.t.Helper()
	for _, kind := range []string{"keyDown", "keyUp"} {
		p := map[string]any{"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code}
		if text != "" && kind == "keyDown" {
			p["text"] = text
		}
		tb.call("Input.dispatchKeyEvent", p, nil)
	}
}

// scheme pretends that the reader prefers a colour scheme, on a medium.
func (tb *tab) scheme(name, medium string) {
	tb.t.Helper()
	tb.call("Emulation.setEmulatedMedia", map[string]any{"media": medium, "features": []map[string]string{{"name": "prefers-color-scheme", "value": name}}}, nil)
}

func (tb *tab) screenshot() []byte {
	tb.t.Helper()
	var shot struct{ Data []byte }
	tb.call("Page.captureScreenshot", map[string]any{"format": "png"}, &shot)
	return shot.Data
}

// quiet fails when the page complained, or asked for anything but itself.
func (tb *tab) quiet() {
	tb.t.Helper()
	tb.mu.Lock()
	defer tb.mu.Unlock()
	for _, line := range tb.trouble {
		tb.t.Errorf("console: %s", line)
	}
	if got := fmt.Sprint(tb.requests); strings.Join(tb.requests, ", ") != "GET /" {
		tb.t.Errorf("requests: %s", got)
	}
}
