//go:build linux

package deadlinetest

import (
	"fmt"
	"testing"
	"time"
)

// TestPrivThousandThreads stops a thousand threads.
func TestPrivThousandThreads(t *testing.T) {
	s := newScene(t)
	v := s.start(t, 2, "threads", 1000)
	const limit = 250 * time.Millisecond
	all := s.take(t, 5, limit)
	sums := sum(all, v)
	v.clean(t)
	sums.within(t, limit)
	for _, o := range all {
		t.Logf("  %+v", o.Pause)
	}
	if sums.worked == 0 {
		t.Error("no snapshot worked")
	}
	row(t, "1000 threads", limit, sums, "")
}

// TestPrivTenThousandConnections captures both ends of ten thousand connections.
func TestPrivTenThousandConnections(t *testing.T) {
	s := newScene(t)
	const connections, limit = 10000, time.Second
	server := s.start(t, 1, "echo", 7411, connections)
	client := s.start(t, 2, "ask", 7411, connections)
	all := s.take(t, 3, limit)
	sums := sum(all, server, client)
	server.clean(t)
	client.clean(t)
	sums.within(t, limit)
	if sums.worked == 0 {
		t.Error("no snapshot worked")
	}
	for _, o := range all {
		t.Logf("  %+v", o.Pause)
		if o.Err == "" && o.Pause.Connections != connections {
			t.Errorf("captured %d connections", o.Pause.Connections)
		}
	}
	row(t, fmt.Sprintf("%d connections", connections), limit, sums, "")
}
