//go:build linux

package testcluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports are taken from below the kernel's ephemeral range: a port from within
// it could be the local end of some connection when a member is restarted.
const (
	minPort = 20000
	maxPort = 32000
)

// freePorts finds n different loopback ports that nothing uses now.
func freePorts(n int) ([]int, error) {
	var ports []int
	seen := map[int]bool{}
	for range 1000 {
		if len(ports) == n {
			return ports, nil
		}
		port := minPort + rand.IntN(maxPort-minPort)
		if seen[port] {
			continue
		}
		seen[port] = true
		l, err := net.Listen("tcp", loopback(port))
		if err != nil {
			continue
		}
		l.Close()
		ports = append(ports, port)
	}
	return nil, errors.New("no free loopback ports")
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
