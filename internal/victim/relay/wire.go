//go:build linux

package relay

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
)

// size is how long a message is: a request and an answer alike.
const size = 48

// A wire is a connection and what went over it.
type wire struct {
	net.Conn
	name      string
	sent, got int64
}

// dial connects, which is an event.
func (t *task) dial(addr string) *wire {
	at := t.now()
	c, err := net.Dial("tcp", addr)
	check(err)
	w := &wire{Conn: c, name: "tcp " + c.LocalAddr().String() + " " + c.RemoteAddr().String()}
	t.did(at, model.Event{Kind: model.EventConnect, Object: addr, Conn: w.name, Took: t.now() - at})
	return w
}

// accept waits for a connection, which becomes the task's cause.
func (t *task) accept(l net.Listener) *wire {
	at := t.now()
	c, err := l.Accept()
	check(err)
	w := &wire{Conn: c, name: "tcp " + c.RemoteAddr().String() + " " + c.LocalAddr().String()}
	t.cause = OfMessage
	t.cause = t.did(at, model.Event{Kind: model.EventAccept, Object: c.RemoteAddr().String(), Conn: w.name, Took: t.now() - at})
	return w
}

// send writes a message.
func (t *task) send(w *wire, text string) {
	at := t.now()
	_, err := w.Write(message(text))
	check(err)
	t.did(at, model.Event{Kind: model.EventSend, Conn: w.name, Offset: w.sent, Bytes: size, Took: t.now() - at})
	w.sent += size
}

func message(text string) []byte { return fmt.Appendf(nil, "%-*s", size, text) }

// request reads one; false when the other end has closed. It becomes the task's
// cause. Its own is known to the sender alone, who put it into the message.
func (t *task) request(w *wire) (text string, ok bool) {
	at := t.now()
	buf := make([]byte, size)
	if _, err := io.ReadFull(w, buf); errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return "", false
	} else {
		check(err)
	}
	e := model.Event{Kind: model.EventReceive, Conn: w.name, Offset: w.got, Bytes: size, Took: t.now() - at}
	w.got += size
	t.cause = OfMessage
	t.cause = t.did(at, e)
	return strings.TrimSpace(string(buf)), true
}

// answer reads one. It does not change what the task works for.
func (t *task) answer(w *wire) {
	at := t.now()
	_, err := io.ReadFull(w, make([]byte, size))
	check(err)
	was := t.cause
	t.cause = OfMessage
	t.did(at, model.Event{Kind: model.EventReceive, Conn: w.name, Offset: w.got, Bytes: size, Took: t.now() - at})
	t.cause = was
	w.got += size
}
