//go:build linux

package trace

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/unwind"
	"golang.org/x/sys/unix"
)

// conn names the connection of a record, the same at both ends.
func (r *Recording) conn(rec *record) string {
	local, remote := rec.local, rec.remote
	if local.Port() == 0 { // it is over, and its port taken from it
		return r.ended[rec.sk]
	}
	switch {
	case r.clients[pair{local, remote}]:
	case r.clients[pair{remote, local}]:
		local, remote = remote, local
	case rec.local.Port() < rec.remote.Port(): // not known who connected
		local, remote = remote, local
	}
	name := "tcp " + local.String() + " " + remote.String()
	if rec.sk != 0 {
		r.ended[rec.sk] = name
	}
	return name
}

// stream tells of bytes that went over a connection.
func (r *Recording) stream(rec *record) {
	kind := model.EventSend
	if rec.other != 0 {
		kind = model.EventReceive
	}
	rec.ret = 0
	e := r.event(rec, kind)
	e.Conn, e.Offset, e.Bytes = r.conn(rec), rec.offset, rec.bytes
	e.Took = time.Duration(rec.took)
	if rec.count > 1 {
		e.Count = int(rec.count)
	}
	e.Stack = r.stack(rec)
	r.add(e)
}

// state tells of a connection that came, could not be made, or is closed.
func (r *Recording) state(rec *record) {
	if rec.other == tcpSynSent && (rec.nr == tcpEstablished || rec.nr == tcpClose) {
		if rec.nr == tcpClose && rec.ret == 0 {
			return // its owner gave it up
		}
		e := r.event(rec, model.EventConnect)
		e.Object, e.Took, e.Stack = "tcp "+rec.remote.String(), time.Duration(rec.took), r.callers[rec.sk]
		delete(r.callers, rec.sk)
		if rec.ret == 0 {
			r.clients[pair{rec.local, rec.remote}] = true
			e.Conn = r.conn(rec)
		} else {
			r.told[rec.sk] = rec.ret
		}
		if i := r.add(e); e.Stack == nil {
			r.connects[rec.sk] = i
		}
		return
	}
	e := r.event(rec, model.EventClose)
	e.Object, e.Conn, e.Offset = "tcp "+rec.remote.String(), r.conn(rec), rec.offset
	r.add(e)
}

// connected takes the call stack of a connect, which returns before or after
// the connection is there, and tells of one that was not even tried to be made.
func (r *Recording) connected(rec *record) {
	if !r.inet(rec) {
		return
	}
	if stack := r.stack(rec); stack != nil {
		if i, told := r.connects[rec.sk]; !told {
			r.callers[rec.sk] = stack
		} else if i >= 0 {
			r.events[i].Stack = stack
		}
	}
	delete(r.connects, rec.sk)
	if rec.ret == 0 || rec.ret == -int64(unix.EINPROGRESS) {
		return
	}
	delete(r.callers, rec.sk)
	if r.told[rec.sk] == rec.ret {
		delete(r.told, rec.sk)
		return
	}
	e := r.event(rec, model.EventConnect)
	if to, ok := sockaddr(rec); ok {
		e.Object = "tcp " + to.String()
	}
	e.Stack = r.stack(rec)
	r.add(e)
}

// sockaddr decodes the socket address that a program has read in place of a path.
func sockaddr(rec *record) (netip.AddrPort, bool) {
	b := rec.text
	if len(b) < 28 {
		return netip.AddrPort{}, false
	}
	port := binary.BigEndian.Uint16(b[2:])
	switch binary.LittleEndian.Uint16(b) {
	case familyIP4:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:])), port), true
	case familyIP6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:])).Unmap(), port), true
	}
	return netip.AddrPort{}, false
}

// rest takes over what the kernel has merged and not told yet.
func (r *Recording) rest() error {
	var (
		sk    uint64
		value []byte
		all   = r.t.maps.socks.Iterate()
	)
	for all.Next(&sk, &value) {
		if binary.LittleEndian.Uint32(value[sockWorld:]) != r.id {
			continue
		}
		for dir := range uint32(2) {
			r.unmerged(value, dir)
		}
	}
	if err := all.Err(); err != nil {
		return err
	}
	var (
		key   [16]byte
		count [2]uint64
	)
	all = r.t.maps.files.Iterate()
	for all.Next(&key, &count) {
		if binary.LittleEndian.Uint32(key[12:]) == r.id {
			r.settle(counted{binary.LittleEndian.Uint64(key[:]), binary.LittleEndian.Uint32(key[8:])}, int64(count[0]), int64(count[1]))
		}
	}
	return all.Err()
}

// unmerged tells what is merged of one direction.
func (r *Recording) unmerged(value []byte, dir uint32) {
	b := value[dir*dirSize:]
	u64 := binary.LittleEndian.Uint64
	if u64(b[dirBegan:]) == 0 || u64(b[dirTotal:]) == u64(b[dirTold:]) {
		return
	}
	rec := record{
		at: u64(b[dirLast:]), took: int64(u64(b[dirLast:]) - u64(b[dirBegan:])), other: dir,
		pid: int(u64(b[dirWho:]) >> 32), tid: int(uint32(u64(b[dirWho:]))),
		offset: int64(u64(b[dirTold:])), bytes: int64(u64(b[dirTotal:]) - u64(b[dirTold:])), count: int64(u64(b[dirCount:])),
	}
	rec.local, rec.remote = addresses(value[sockEnds:])
	r.stream(&rec)
}

// stack names the functions of a record's call stack.
func (r *Recording) stack(rec *record) []string {
	if len(rec.stack) == 0 || len(r.events) == mostEvents {
		return nil
	}
	return r.named(rec.hostPID, rec.stack)
}

// named names code addresses of a process, each list once.
func (r *Recording) named(hostPID int, addresses []byte) []string {
	key := stackKey{hostPID, string(addresses)}
	names, ok := r.stacks[key]
	if !ok {
		names = r.name(hostPID, addressesOf(key))
		r.stacks[key] = names
	}
	return names
}

// nameAgain names the code that had no name when it was first met: a Java virtual
// machine tells later what it has generated. Events share the lists.
func (r *Recording) nameAgain() {
	r.t.names.Reread()
	for key, names := range r.stacks {
		if slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, unwind.Generated) }) {
			copy(names, r.name(key.hostPID, addressesOf(key)))
		}
	}
}

func addressesOf(key stackKey) (pcs []uint64) {
	for b := []byte(key.stack); len(b) >= 8; b = b[8:] {
		pcs = append(pcs, binary.LittleEndian.Uint64(b))
	}
	return pcs
}

// name finds the names while the process is there. What it has mapped is read
// anew when an address is outside of that.
func (r *Recording) name(hostPID int, pcs []uint64) []string {
	vmas := r.maps[hostPID]
	for _, pc := range pcs {
		if pc != 0 && !slices.ContainsFunc(vmas, func(v procfs.VMA) bool { return v.Start <= pc && pc < v.End }) {
			if now, err := procfs.Maps(hostPID); err == nil {
				vmas = now
				r.maps[hostPID] = now
			}
			break
		}
	}
	return r.t.names.Frames(hostPID, vmas, pcs)
}
