//go:build linux

package worldinit

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// parseRequest reads a packet of the agent's.
func parseRequest(b []byte) (r request, err error) {
	if err := json.Unmarshal(b, &r); err != nil {
		return request{}, fmt.Errorf("parse request: %w", err)
	}
	set := 0
	for _, is := range []bool{len(r.Layers) > 0, r.Config != nil, r.Numbers, r.Filter, r.Clock != nil, r.Start != nil, r.Kill != 0} {
		if is {
			set++
		}
	}
	switch {
	case set != 1:
		return request{}, fmt.Errorf("request asks for %d things", set)
	case r.Start != nil && len(r.Start.Args) == 0:
		return request{}, errors.New("request starts nothing")
	case r.Kill < 0: // a process group, or everything
		return request{}, fmt.Errorf("request kills %d", r.Kill)
	}
	return r, nil
}

// parseEvent reads a packet of the init's.
func parseEvent(b []byte) (e Event, err error) {
	if err := json.Unmarshal(b, &e); err != nil {
		return Event{}, fmt.Errorf("parse event: %w", err)
	}
	switch e.Kind {
	case "ready", "started", "fork", "exec", "exit", "failed":
		return e, nil
	}
	return Event{}, fmt.Errorf("event of kind %q", e.Kind)
}

// passed returns the descriptors that came with a packet: unix(7), SCM_RIGHTS.
func passed(oob []byte) (fds []int) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range messages {
		if len(messages[i].Data)%4 != 0 {
			continue // ParseUnixRights panics; the kernel sends whole numbers
		}
		if got, err := unix.ParseUnixRights(&messages[i]); err == nil {
			fds = append(fds, got...)
		}
	}
	return fds
}

// received takes over the descriptors that came with a packet.
func received(oob []byte) (files []*os.File) {
	for _, fd := range passed(oob) {
		unix.CloseOnExec(fd)
		files = append(files, os.NewFile(uintptr(fd), "passed"))
	}
	return files
}
