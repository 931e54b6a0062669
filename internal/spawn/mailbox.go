//go:build linux

package spawn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/pilotexec/pilot/internal/kobj"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/tracee"
	"golang.org/x/sys/unix"
)

// A mailbox carries descriptors from the agent into a puppet, one a message,
// by SCM_RIGHTS: the puppet needs no right over the agent.
type mailbox struct {
	to *tracee.Puppet
	fd sys.FD // our end
	at int    // the puppet's end
}

// newMailbox makes one in a puppet that has no descriptors yet. The puppet's
// end gets the number at, or a higher one.
func newMailbox(p *tracee.Puppet, pidfd sys.FD, at int) (*mailbox, error) {
	at = max(at, 3)
	data, _ := p.Data()
	if err := p.Do(tracee.Sys(unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_SEQPACKET, 0, uint64(data))); err != nil {
		return nil, err
	}
	ours, err := sys.PidfdGetFD(pidfd, 0)
	if err != nil {
		return nil, err
	}
	return &mailbox{p, ours, at}, p.Do(
		tracee.Sys(unix.SYS_DUP3, 1, uint64(at), unix.O_CLOEXEC),
		tracee.Sys(unix.SYS_CLOSE, 0),
		tracee.Sys(unix.SYS_CLOSE, 1),
	)
}

// chunk bounds the descriptors under way at once, by the receiver's buffer.
const chunk = 64

// deliver installs the descriptors, in ascending order of their numbers. A
// received descriptor takes the lowest free number, which is therefore at most
// the one wanted, and known in advance.
func (m *mailbox) deliver(wanted []wantedFD) error {
	lowest := 0
	taken := map[int]bool{}
	for part := range slices.Chunk(wanted, chunk) {
		var calls []tracee.Call
		var messages []byte
		at, _ := m.to.Data()
		for i, f := range part {
			if err := m.send(f.from); err != nil {
				return err
			}
			for taken[lowest] {
				lowest++
			}
			header := uint64(at) + uint64(i*messageSize)
			messages = append(messages, messageBuffer(header)...)
			flags := uint64(0)
			if f.cloexe {
				flags = unix.O_CLOEXEC
			}
			recvFlags := uint64(0)
			if f.cloexe {
				recvFlags = unix.MSG_CMSG_CLOEXEC
			}
			calls = append(calls, tracee.Sys(unix.SYS_RECVMSG, uint64(m.at), header, recvFlags))
			if lowest != f.number {
				calls = append(calls,
					tracee.Sys(unix.SYS_DUP3, uint64(lowest), uint64(f.number), flags),
					tracee.Sys(unix.SYS_CLOSE, uint64(lowest)))
			}
			taken[f.number] = true
		}
		if err := m.to.Write(at, messages); err != nil {
			return err
		}
		if err := m.to.Do(calls...); err != nil {
			return err
		}
	}
	return nil
}

func (m *mailbox) send(fd sys.FD) error {
	err := unix.Sendmsg(int(m.fd), []byte{0}, unix.UnixRights(int(fd)), nil, unix.MSG_DONTWAIT)
	return os.NewSyscallError("sendmsg", err)
}

// messageSize holds a msghdr, an iovec, its byte, and room for one descriptor.
const messageSize = 128

// messageBuffer lays out a struct msghdr for address at, recvmsg(2).
func messageBuffer(at uint64) []byte {
	le := binary.LittleEndian
	b := make([]byte, messageSize)
	le.PutUint64(b[16:], at+56) // msg_iov
	le.PutUint64(b[24:], 1)     // msg_iovlen
	le.PutUint64(b[32:], at+80) // msg_control
	le.PutUint64(b[40:], 24)    // msg_controllen
	le.PutUint64(b[56:], at+72) // iov_base
	le.PutUint64(b[64:], 1)     // iov_len
	return b
}

// lend gives the puppet fd for the duration of use, which learns its number there.
func (m *mailbox) lend(fd sys.FD, use func(number uint64) error) error {
	if err := m.send(fd); err != nil {
		return err
	}
	at, _ := m.to.Data()
	if err := m.to.Write(at, messageBuffer(uint64(at))); err != nil {
		return err
	}
	calls := []tracee.Call{tracee.Sys(unix.SYS_RECVMSG, uint64(m.at), uint64(at), unix.MSG_CMSG_CLOEXEC)}
	if err := m.to.Do(calls...); err != nil {
		return err
	}
	buf := make([]byte, 4)
	if err := m.to.Read(at+80+16, buf); err != nil {
		return err
	}
	got := uint64(binary.LittleEndian.Uint32(buf))
	return errors.Join(use(got), m.to.Do(tracee.Sys(unix.SYS_CLOSE, got)))
}

// close removes both ends.
func (m *mailbox) close() error {
	_ = m.fd.Close()
	return m.to.Do(tracee.Sys(unix.SYS_CLOSE, uint64(m.at)))
}

// deliverLate puts the files of procfs in their places that tell of the phantom's
// own threads and descriptors, and were not there before these.
func (w *World) deliverLate(ph *phantom) error {
	for _, d := range w.objects.Late {
		if d.Holders[0].Member != ph.process.Index {
			continue
		}
		var fd sys.FD
		var found bool
		err := w.inside.Do(func() (err error) {
			fd, found, err = w.objects.Again(d)
			return err
		})
		if err != nil {
			return err
		}
		if found {
			err = ph.post.replace(fd, d)
		}
		if err = errors.Join(err, fd.Close()); err != nil {
			return fmt.Errorf("install %v: %w", d, err)
		}
	}
	return nil
}

// replace puts fd where the holders of d have a stand-in.
func (m *mailbox) replace(fd sys.FD, d *kobj.Description) error {
	return m.lend(fd, func(number uint64) error {
		var calls []tracee.Call
		for _, h := range d.Holders {
			flags := uint64(0)
			if h.CloseOnExec {
				flags = unix.O_CLOEXEC
			}
			calls = append(calls, tracee.Sys(unix.SYS_DUP3, number, uint64(h.FD), flags))
		}
		return m.to.Do(calls...)
	})
}
