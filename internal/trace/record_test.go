//go:build linux

package trace

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"golang.org/x/sys/unix"
)

func TestDecode(t *testing.T) {
	if _, ok := decode(make([]byte, shortSize-1)); ok {
		t.Error("half a record is taken for one")
	}
	b := make([]byte, longSize)
	binary.LittleEndian.PutUint16(b[atFamily:], unix.AF_INET6)
	binary.LittleEndian.PutUint16(b[atLport:], 2380)
	binary.BigEndian.PutUint16(b[atRport:], 40112)
	copy(b[atLocal:], []byte{15: 1})
	copy(b[atRemote:], []byte{10: 0xff, 11: 0xff, 12: 10, 13: 0, 14: 0, 15: 7})
	binary.LittleEndian.PutUint32(b[atStack:], 16)
	minus := int64(-int(unix.EPIPE))
	binary.LittleEndian.PutUint64(b[atRet:], uint64(minus))
	copy(b[atText:], "/a\x00rest")
	copy(b[atText+textSize:], "b\x00")
	r, ok := decode(b)
	if !ok || r.local.String() != "[::1]:2380" || r.remote.String() != "10.0.0.7:40112" || r.ret != minus ||
		len(r.stack) != 16 || r.path(0) != "/a" || r.path(1) != "b" {
		t.Errorf("%+v", r)
	}
	if r, ok := decode(b[:shortSize]); !ok || r.path(0) != "" || r.stack != nil {
		t.Errorf("a short record: %+v", r)
	}
}

// TestDropped wants the first events to be kept, and the rest to be counted.
func TestDropped(t *testing.T) {
	r := newRecording(nil, World{})
	for i := range mostEvents + 3 {
		r.add(model.Event{At: time.Duration(i)})
	}
	if len(r.events) != mostEvents || r.dropped != 3 || r.droppedAt != mostEvents {
		t.Errorf("%d events, %d dropped, from %v on", len(r.events), r.dropped, r.droppedAt)
	}
}

// TestWritesAreMerged adds up what the kernel has counted of one path, until the
// path is another file.
func TestWritesAreMerged(t *testing.T) {
	r := newRecording(nil, World{})
	r.paths[1], r.paths[2] = "/data/log", "/data/log"
	first := record{nr: unix.SYS_WRITE, pid: 7, inode: 1, mode: unix.S_IFREG, ret: 5}
	r.call(&first)
	r.settle(counted{1, 7}, 50, 4)
	again := record{nr: unix.SYS_WRITE, pid: 7, inode: 2, mode: unix.S_IFREG, ret: 5}
	r.call(&again)
	r.settle(counted{2, 7}, 10, 2)
	if len(r.events) != 1 || r.events[0].Bytes != 60 || r.events[0].Count != 6 {
		t.Errorf("%+v, want one write of 60 bytes in 6 calls", r.events)
	}
	r.forget("/data/log")
	r.call(&again)
	r.settle(counted{2, 7}, 3, 1)
	if len(r.events) != 2 || r.events[1].Bytes != 3 || r.events[1].Count != 0 || r.events[0].Bytes != 60 {
		t.Errorf("%+v, want a write of its own after the path became another file", r.events)
	}
}
