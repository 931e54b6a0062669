//go:build linux

package victim

import (
	"fmt"
	"net"
	"time"
)

// The queue of connections that wait to be accepted is never empty.
const queueAddress, queueLength = "127.0.0.1:7403", 5

// queueServer accepts one connection in each round, and greets.
func queueServer() (step, error) {
	l, err := net.Listen("tcp", queueAddress)
	if err != nil {
		return nil, err
	}
	return func() (string, error) {
		_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(time.Millisecond))
		conn, err := l.Accept()
		if err != nil {
			return "", nil // nobody waits
		}
		defer conn.Close()
		_, err = conn.Write([]byte("welcome"))
		return "", err
	}, nil
}

// queueClient keeps connections waiting: it opens several, and a new one for
// each that was greeted.
func queueClient() (step, error) {
	var conns []net.Conn
	return func() (string, error) {
		for len(conns) < queueLength {
			conn, err := untilUp(func() (net.Conn, error) { return net.DialTimeout("tcp", queueAddress, time.Second) })
			if err != nil {
				return "", fmt.Errorf("join the queue: %w", err)
			}
			conns = append(conns, conn)
		}
		_ = conns[0].SetReadDeadline(time.Now().Add(5 * late))
		buf := make([]byte, 20)
		n, err := conns[0].Read(buf)
		if string(buf[:n]) != "welcome" {
			return "", fmt.Errorf("in the queue: %q, %v", buf[:n], err)
		}
		_ = conns[0].Close()
		conns = conns[1:]
		return "", nil
	}, nil
}
