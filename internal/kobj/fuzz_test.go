//go:build linux

package kobj

import (
	"net/netip"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/procfs"
	"golang.org/x/sys/unix"
)

// FuzzAddresses wants an address to come out of its socket form as it went in.
func FuzzAddresses(f *testing.F) {
	for _, s := range []string{"127.0.0.1:7401", "[::1]:7402", "0.0.0.0:0", "[::]:65535", "[::ffff:10.0.0.7]:80", "[fe80::1]:1"} {
		ap := netip.MustParseAddrPort(s)
		f.Add(ap.Addr().AsSlice(), ap.Port())
	}
	f.Fuzz(func(t *testing.T, raw []byte, port uint16) {
		addr, ok := netip.AddrFromSlice(raw)
		if !ok {
			t.Skip("neither 4 nor 16 bytes")
		}
		ap := netip.AddrPortFrom(addr.Unmap(), port)
		if got := addrPort(sockaddr(unix.AF_INET6, ap)); got != ap && addr.Unmap() != netip.IPv4Unspecified() {
			t.Errorf("%v comes out as %v", ap, got)
		}
		if ap.Addr().Is4() {
			if got := addrPort(sockaddr(unix.AF_INET, ap)); got != ap {
				t.Errorf("%v comes out as %v", ap, got)
			}
		}
	})
}

// FuzzTimer wants a timer that is armed to stay so, none to gain expirations,
// and none to be early.
func FuzzTimer(f *testing.F) {
	f.Add(int64(50), int64(0), int64(1010), uint64(0), int64(1000), int64(90))
	f.Add(int64(95), int64(100), int64(1010), uint64(4), int64(1000), int64(-5000))
	f.Fuzz(func(t *testing.T, left, interval, at int64, ticks uint64, cut, ran int64) {
		const most = int64(100 * 365 * 24 * time.Hour)
		for _, n := range []int64{left, interval, at, cut} {
			if n < 0 || n > most/4 {
				t.Skip("no clock shows that")
			}
		}
		if at-cut > 1000*interval || ran > most/4 || ran < -most/4 {
			t.Skip("no pause lasts so long")
		}
		st := timerState{ticks: ticks, at: time.Duration(at), spec: unix.ItimerSpec{
			Value: unix.NsecToTimespec(left), Interval: unix.NsecToTimespec(interval),
		}}
		got := st.resumed(time.Duration(cut), time.Duration(ran))
		is := got.spec.Value.Nano()
		switch {
		case (is == 0) != (left == 0), is < 0:
			t.Errorf("%d left became %d", left, is)
		case got.ticks > ticks:
			t.Errorf("%d expirations became %d", ticks, got.ticks)
		case got.spec.Interval != st.spec.Interval:
			t.Errorf("interval %+v became %+v", st.spec.Interval, got.spec.Interval)
		case left > 0 && is > 1 && is+ran+int64(ticks-got.ticks)*interval != left+at-cut:
			t.Errorf("%d left at %d became %d at %d and %d expirations less", left, at, is, cut+ran, ticks-got.ticks)
		}
	})
}

// FuzzLock wants a lock to cover what /proc says it covers.
func FuzzLock(f *testing.F) {
	f.Add("WRITE", int64(0), int64(-1))
	f.Add("READ", int64(100), int64(199))
	f.Fuzz(func(t *testing.T, typ string, start, end int64) {
		if start < 0 || end >= 0 && end < start {
			t.Skip("the kernel shows none such")
		}
		fl := Flock(procfs.Lock{Type: typ, Start: start, End: end})
		if last := fl.Start + fl.Len - 1; fl.Start != start || end >= 0 && last != end || end < 0 && fl.Len != 0 {
			t.Errorf("%d to %d became %+v", start, end, fl)
		}
	})
}
