package causal

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// verbs are what kinds of events are called before their object.
var verbs = map[string]string{
	model.EventExec: "ran", model.EventCreate: "created", model.EventWrite: "wrote", model.EventTruncate: "truncated",
	model.EventRemove: "removed", model.EventSync: "synced", model.EventListen: "listens on",
	model.EventBlocked: "tried", model.EventLog: "logged",
}

// what is e in words, without who and when.
func what(e *model.Event) string {
	s := phrase(e)
	if e.Count > 1 {
		s += " (×" + strconv.Itoa(e.Count) + ")"
	}
	return s
}

func phrase(e *model.Event) string {
	switch e.Kind {
	case KindProcess:
		if e.Object == "" {
			return "process " + strconv.Itoa(e.PID)
		}
		return e.Object
	case KindTask:
		_, place := maker(e.Object)
		return strings.TrimSuffix("started "+e.Task+" at "+place, " at ")
	case model.EventStart:
		return "started " + strconv.Itoa(e.Child)
	case model.EventExit:
		if _, err := strconv.Atoi(e.Object); err != nil {
			return "was ended by " + e.Object
		}
		return "exited with " + e.Object
	case model.EventSignal:
		return "got " + e.Object
	case model.EventRename:
		return "renamed " + e.Object + " to " + e.To
	case model.EventSend:
		return "sent " + bytes(e.Bytes) + over(" to ", e)
	case model.EventReceive:
		if e.Bytes == 0 {
			return "saw the end" + over(" of ", e)
		}
		return "received " + bytes(e.Bytes) + over(" from ", e)
	case model.EventWait:
		s := "waited " + e.Took.Round(time.Millisecond).String()
		if e.Object != "" {
			s += " for " + e.Object
		}
		return s
	case model.EventConnect:
		return "connected" + over(" to ", e)
	case model.EventAccept:
		return "accepted" + over(" ", e)
	case model.EventClose:
		return "closed" + over(" ", e)
	case model.EventWrite:
		if e.Bytes > 0 {
			return "wrote " + bytes(e.Bytes) + " to " + e.Object
		}
	}
	if v, ok := verbs[e.Kind]; ok {
		return v + " " + e.Object
	}
	return fmt.Sprintf("%s %s", e.Kind, e.Object)
}

// over names the peer of a connection, or the connection.
func over(word string, e *model.Event) string {
	switch {
	case e.Object != "":
		return word + e.Object
	case e.Conn != "":
		_, server := ends(e.Conn)
		return " over " + strings.TrimSpace(server)
	}
	return ""
}
