//go:build linux

package victim

import (
	"encoding/binary"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

var datagramAddresses = []string{"127.0.0.1:7405", "[::1]:7406"}

func udpServer(string) (step, error) {
	var steps []step
	for _, addr := range datagramAddresses {
		conn, err := net.ListenPacket("udp", addr)
		if err != nil {
			return nil, err
		}
		fd, err := rawFD(conn.(*net.UDPConn))
		if err != nil {
			return nil, err
		}
		steps = append(steps, func() (string, error) {
			for range 5 {
				buf := make([]byte, 100)
				n, from, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
				if err == unix.EAGAIN {
					break
				}
				if err == nil {
					err = unix.Sendto(fd, buf[:n], 0, from)
				}
				if err != nil {
					return "", fmt.Errorf("%s: %w", addr, err)
				}
			}
			return "", nil
		})
	}
	return all(steps...), nil
}

// udpClient sends numbers and wants them back, in any order, some lost.
func udpClient(string) (step, error) {
	var steps []step
	for _, addr := range datagramAddresses {
		conn, err := net.Dial("udp", addr)
		if err != nil {
			return nil, err
		}
		fd, err := rawFD(conn.(*net.UDPConn))
		if err != nil {
			return nil, err
		}
		sent := uint64(0)
		last := monotonic()
		steps = append(steps, func() (string, error) {
			sent++
			if _, err := unix.Write(fd, put(sent)); err != nil && err != unix.ECONNREFUSED {
				return "", err
			}
			buf := make([]byte, 100)
			n, err := unix.Read(fd, buf)
			switch {
			case n == 8:
				if got := binary.NativeEndian.Uint64(buf); got > sent || got == 0 {
					return "", fmt.Errorf("%s: got %d, sent %d", addr, got, sent)
				}
				last = monotonic()
			case monotonic()-last > 5*late:
				return "", fmt.Errorf("%s: no answer: %w", addr, err)
			}
			return "", nil
		})
	}
	return all(steps...), nil
}
