//go:build linux

package kobj

import (
	"fmt"
	"os"
	"time"

	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// drainTime bounds the wait for bytes between two stopped members. The kernel
// delivers them without the members' help, in microseconds unless the
// processor is busy with something else.
const drainTime = 5 * time.Millisecond

// A Drain completes the capture of connections while every member is stopped:
// it waits until nothing is on the wire, then reads the receive queues, and from
// the sender's queue what its peer has no room for.
//
// It holds no duplicate of a socket between its calls: there may be more
// connections than a process can have descriptors.
type Drain struct {
	// Batch reads send queues. Without it connections that are full are lost.
	Batch *sys.SocketBatch
	// Over returns an error when the time for the pause is used up.
	Over func() error

	Inside, Outside int // connections seen

	ends  map[pairKey]*streamState
	until time.Time // bounds all waits together
}

// Add takes a description that was captured from dup. The second end of a
// connection between members completes both.
func (dr *Drain) Add(d *Description, dup sys.FD) error {
	st, ok := d.State.(*streamState)
	if !ok || !st.peer.IsValid() {
		return nil
	}
	if dr.ends == nil {
		dr.ends = map[pairKey]*streamState{}
	}
	dr.ends[pairKey{st.local, st.peer}] = st
	other := dr.ends[pairKey{st.peer, st.local}]
	if other == nil {
		return nil
	}
	delete(dr.ends, pairKey{st.local, st.peer})
	delete(dr.ends, pairKey{st.peer, st.local})
	dr.Inside++
	return other.with(func(far sys.FD) error { return dr.pair(end{st, dup}, end{other, far}) })
}

// Finish reads the connections whose other end is not with a member.
func (dr *Drain) Finish() error {
	dr.Outside = len(dr.ends)
	for _, st := range dr.ends {
		err := dr.Over()
		if err == nil {
			err = st.with(func(dup sys.FD) error {
				if err := st.look(dup); err != nil {
					return err
				}
				return (&end{st, dup}).read()
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// with calls fn with a duplicate of the socket.
func (st *streamState) with(fn func(sys.FD) error) error {
	dup, err := sys.PidfdGetFD(st.from, st.fd)
	if err != nil {
		return err
	}
	defer dup.Close()
	return fn(dup)
}

// An end is one end of a connection, and our duplicate of its socket.
type end struct {
	*streamState
	dup sys.FD
}

// read copies what waits to be read.
func (e *end) read() (err error) {
	if e.proto == unix.IPPROTO_MPTCP {
		if _, err := e.ended(); err != nil {
			return err
		}
	}
	e.recv, err = peekStream(e.dup)
	return err
}

func (dr *Drain) pair(a, b end) error {
	settle := dr.settle
	if a.proto == unix.IPPROTO_MPTCP || b.proto == unix.IPPROTO_MPTCP {
		settle = dr.settleMultipath
	}
	if err := settle(a, b); err != nil {
		return err
	}
	for _, e := range []*end{&a, &b} {
		if err := e.read(); err != nil {
			return err
		}
	}
	return nil
}

// wait reports whether there is time for another look at the wire.
func (dr *Drain) wait() (bool, error) {
	now := time.Now()
	if dr.until.IsZero() {
		dr.until = now.Add(drainTime)
	}
	return now.Before(dr.until), dr.Over()
}

// settle waits until each end has received all that the other has put on the
// wire. What that could not send, for want of room, is read from its queue.
func (dr *Drain) settle(a, b end) error {
	for {
		if err := a.look(a.dup); err != nil {
			return err
		}
		if err := b.look(b.dup); err != nil {
			return err
		}
		toA, toB := flying(b, a), flying(a, b)
		if toA > 0 || toB > 0 {
			again, err := dr.wait()
			if err != nil {
				return err
			}
			if again {
				continue
			}
		}
		if err := dr.takeUnsent(b, a, toA); err != nil {
			return err
		}
		return dr.takeUnsent(a, b, toB)
	}
}

// flying is how many bytes are on the wire. Both counters are of the stream's
// payload. Bytes sent twice were received once.
func flying(from, to end) int64 {
	return max(0, int64(from.info.Bytes_sent)-int64(from.info.Bytes_retrans)-int64(to.info.Bytes_received))
}

// takeUnsent reads what a sender has not brought to its peer.
func (dr *Drain) takeUnsent(from, to end, flying int64) error {
	n := flying + int64(from.info.Notsent_bytes)
	if n == 0 {
		return nil
	}
	if dr.Batch == nil {
		from.lose(to, fmt.Sprintf("%d bytes are in a send queue, which this kernel lets nobody read safely: the connection is lost", n))
		return nil
	}
	waiting, err := unix.IoctlGetInt(int(from.dup), unix.TIOCOUTQ)
	if err != nil {
		return os.NewSyscallError("ioctl siocoutq", err)
	}
	queue, err := PeekSendQueue(dr.Batch, from.dup, make([]byte, waiting))
	if err != nil {
		return fmt.Errorf("send queue %v to %v: %w", from.local, from.peer, err)
	}
	if int64(len(queue)) < n {
		return fmt.Errorf("send queue %v to %v holds %d of %d missing bytes", from.local, from.peer, len(queue), n)
	}
	from.unsent = queue[int64(len(queue))-n:]
	return nil
}

// lose declares a connection lost in a world.
func (e end) lose(other end, why string) { e.lost, other.lost = why, why }

// PeekSendQueue copies into buf what a socket has not been told to be received.
// Both ends must be stopped: an acknowledgement that arrives while the socket is
// in repair mode would lose a transmission (tcp_write_xmit, tcp_repair).
//
// A socket that stays in repair mode is broken: it takes no call of its owner.
// So entering it, the look, and leaving it are one system call, which the death
// of this process cannot cut short. Leaving it without a window probe (-1)
// clears SO_REUSEADDR, which is put back.
func PeekSendQueue(batch *sys.SocketBatch, fd sys.FD, buf []byte) ([]byte, error) {
	const sendQueue, noQueue, offNoWindowProbe = 2, 0, -1
	if len(buf) == 0 {
		return nil, nil
	}
	reuse, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt so_reuseaddr", err)
	}
	calls := []sys.SocketCall{
		{Level: unix.IPPROTO_TCP, Name: unix.TCP_REPAIR, Value: 1},
		{Level: unix.IPPROTO_TCP, Name: unix.TCP_REPAIR_QUEUE, Value: sendQueue},
		{Buf: buf},
		{Level: unix.IPPROTO_TCP, Name: unix.TCP_REPAIR_QUEUE, Value: noQueue},
		{Level: unix.IPPROTO_TCP, Name: unix.TCP_REPAIR, Value: offNoWindowProbe},
		{Level: unix.SOL_SOCKET, Name: unix.SO_REUSEADDR, Value: reuse},
	}
	if err := batch.Do(fd, calls); err != nil {
		return nil, err
	}
	for i, what := range []string{"enter repair mode", "choose the send queue", "peek", "leave the send queue", "leave repair mode", "restore so_reuseaddr"} {
		if err := calls[i].Err(); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
	}
	return buf[:calls[2].Ret], nil
}

// settleMultipath is settle for MPTCP, whose counters are of the first path and
// not of the stream. Its send queue cannot be read, so that a connection with
// bytes that the peer has no room for is lost.
func (dr *Drain) settleMultipath(a, b end) error {
	for _, way := range [][2]end{{a, b}, {b, a}} {
		if err := dr.settleOneWay(way[0], way[1]); err != nil {
			return err
		}
	}
	return nil
}

func (dr *Drain) settleOneWay(from, to end) error {
	for {
		written, _, err := sys.MultipathSequence(from.dup)
		if err != nil {
			return err
		}
		_, received, err := sys.MultipathSequence(to.dup)
		if err != nil {
			return err
		}
		if written == received {
			break
		}
		again, err := dr.wait()
		if err != nil {
			return err
		}
		if !again {
			from.lose(to, fmt.Sprintf("%d bytes are in an MPTCP send queue, which cannot be read: the connection is lost", written-received))
			return nil
		}
	}
	over, err := to.ended()
	if over && from.state == tcpEstablished {
		from.state = tcpFinWait2
	}
	return err
}

// ended reports whether the peer sends no more. MPTCP shows no state but this.
func (e *end) ended() (bool, error) {
	events, err := pollNow(e.dup, unix.POLLRDHUP)
	if err != nil {
		return false, err
	}
	over := events&unix.POLLRDHUP != 0
	if over && e.state == tcpEstablished {
		e.state = tcpCloseWait
	} else if over && e.state == tcpFinWait2 {
		e.state = tcpClosing
	}
	return over, nil
}
