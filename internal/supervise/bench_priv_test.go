//go:build linux

package supervise

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/seal"
	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// benchName is how the test binary is executed again: a filter stays for good.
const benchName = "pilot-supervise-bench"

func TestMain(m *testing.M) {
	if os.Args[0] == benchName {
		if err := measure(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// BenchmarkPrivFilter prints what calls take without and with the filter, in one
// process one after the other.
func BenchmarkPrivFilter(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("needs root")
	}
	for b.Loop() {
		out, err := (&exec.Cmd{Path: "/proc/self/exe", Args: []string{benchName}}).CombinedOutput()
		if err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		b.Logf("\n%s", out)
	}
}

func measure() error {
	runtime.LockOSThread()
	plain := [2]time.Duration{each(200_000, getppid), each(5000, connect)}
	listener, err := sys.InstallFilter(seal.Program())
	if err != nil {
		return err
	}
	s, err := New(os.Getpid(), netip.Addr.IsLoopback, nil)
	if err != nil {
		return err
	}
	s.Add(sys.FD(listener), "")
	filtered := [2]time.Duration{each(200_000, getppid), each(5000, connect)}
	for i, name := range []string{"getppid, let pass", "connect, looked at"} {
		fmt.Printf("%-20s %v without, %v with the filter, ratio %.2f\n", name, plain[i], filtered[i], float64(filtered[i])/float64(plain[i]))
	}
	return nil
}

// each returns the median of 9 measurements of one call.
func each(n int, call func()) time.Duration {
	var all []time.Duration
	for range 9 {
		began := time.Now()
		for range n / 9 {
			call()
		}
		all = append(all, time.Since(began)/time.Duration(n/9))
	}
	slices.Sort(all)
	return all[4]
}

func getppid() { unix.Getppid() }

// connect makes a datagram socket's connection, which sends nothing.
func connect() {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	_ = unix.Connect(fd, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}})
	_ = unix.Close(fd)
}
