//go:build linux

package relay

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// Periods of what the servers do by themselves.
const (
	tick      = 7 * time.Millisecond
	heartbeat = 11 * time.Millisecond
	compact   = 13 * time.Millisecond
)

// pool is how many connections the front server keeps to the back server.
const pool = 3

// workers is how many tasks of the back server work on requests.
const workers = 3

// client makes all requests, some at once, and writes a file for each answer.
func (t *task) client() {
	var all sync.WaitGroup
	for c := range t.cfg.Clients {
		all.Add(1)
		t.spawn("relay.(*task).client", func(t *task) {
			defer all.Done()
			w := t.dial(t.cfg.Front)
			for n := c; n < t.cfg.Requests; n += t.cfg.Clients {
				t.send(w, fmt.Sprintf("request %d", n))
				t.answer(w)
				t.file(fmt.Sprintf("client-%d", n), 11, false)
			}
		})
	}
	all.Wait()
	t.emit(t.now(), model.Event{Kind: model.EventExit, Object: "0"})
}

// front has a task for each connection. It asks the back server for each
// request, and goes on with some of its work after the answer.
func (t *task) front() {
	l, err := net.Listen("tcp", t.cfg.Front)
	check(err)
	wires := make(chan *wire, pool)
	for range pool {
		wires <- nil // dialled when needed
	}
	t.spawn("relay.(*task).ticks", func(t *task) {
		for n := 0; ; n++ {
			time.Sleep(tick)
			t.file("ticker", 5, false)
			t.log(fmt.Sprintf("tick %d", n))
		}
	})
	t.spawn("relay.(*task).beats", func(t *task) {
		w := t.dial(t.cfg.Back)
		for n := 0; ; n++ {
			time.Sleep(heartbeat)
			t.send(w, fmt.Sprintf("heartbeat %d", n))
		}
	})
	t.listening()
	for {
		w := t.accept(l)
		t.spawn("relay.(*task).front", func(t *task) { t.serveFront(w, wires) })
		t.cause = OfItself
	}
}

func (t *task) serveFront(w *wire, wires chan *wire) {
	for n := 0; ; n++ {
		text, ok := t.request(w)
		if !ok {
			return
		}
		t.file(fmt.Sprintf("front-%d-%s", os.Getpid(), name(text)), 20, false)
		up := <-wires
		if up == nil {
			up = t.dial(t.cfg.Back)
		}
		t.send(up, "sub"+text)
		t.answer(up)
		wires <- up
		if n%5 == 0 {
			t.helper()
		}
		t.log("did " + text)
		t.spawn("relay.(*task).serveFront", func(t *task) {
			time.Sleep(4 * time.Millisecond)
			t.file(fmt.Sprintf("later-%d-%s", os.Getpid(), name(text)), 30, false)
		})
		t.send(w, "done "+text)
		t.file(fmt.Sprintf("audit-%d-%s", os.Getpid(), name(text)), 8, false)
	}
}

// helper starts a process and waits for its end.
func (t *task) helper() {
	cfg := t.cfg
	cfg.Role = Helper
	at := t.now()
	cfg.For = t.cause
	arg, err := json.Marshal(cfg)
	check(err)
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{Name, string(arg)}
	cmd.Stderr = os.Stderr
	check(cmd.Start())
	t.did(at, model.Event{Kind: model.EventStart, Child: cmd.Process.Pid, Took: t.now() - at})
	check(cmd.Wait())
}

func name(text string) string {
	var n int
	_, err := fmt.Sscanf(text, "request %d", &n)
	if err != nil {
		_, err = fmt.Sscanf(text, "subrequest %d", &n)
	}
	check(err)
	return fmt.Sprint(n)
}

// A job is a request that a worker is given.
type job struct {
	text  string
	w     *wire
	cause Ref
}

// back reads requests by one task for each connection and hands them to workers.
func (t *task) back() {
	if t.cfg.Style == Loop {
		t.loop()
		return
	}
	l, err := net.Listen("tcp", t.cfg.Back)
	check(err)
	jobs := make(chan job, 64)
	for range workers {
		t.spawn("relay.(*task).back", func(t *task) {
			for j := range jobs {
				t.cause = j.cause
				t.serveBack(j.w, j.text)
			}
		})
	}
	t.spawn("relay.(*task).compacts", func(t *task) {
		for n := 0; ; n++ {
			time.Sleep(compact)
			t.compact(n)
		}
	})
	t.listening()
	for {
		w := t.accept(l)
		t.spawn("relay.(*task).back", func(t *task) {
			for {
				text, ok := t.request(w)
				if !ok {
					return
				}
				jobs <- job{text, w, t.cause}
			}
		})
		t.cause = OfItself
	}
}

// serveBack does one request. A heartbeat has no answer.
func (t *task) serveBack(w *wire, text string) {
	if text[0] == 'h' {
		t.file("alive", 3, false)
		return
	}
	t.file(fmt.Sprintf("back-%d-%s", os.Getpid(), name(text)), 40, true)
	t.log("stored " + text)
	t.send(w, "done "+text)
}

// compact makes a file and removes it, which nobody asked for.
func (t *task) compact(n int) {
	t.cause = OfItself
	file := fmt.Sprintf("compact-%d", n)
	t.file(file, 100, false)
	at := t.now()
	path := t.cfg.Dir + "/" + file
	check(os.Remove(path))
	t.did(at, model.Event{Kind: model.EventRemove, Object: path})
}
