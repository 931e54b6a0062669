//go:build linux

package egress

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/pilotexec/pilot/internal/procfs"
)

func TestBest(t *testing.T) {
	at := netip.MustParseAddrPort
	socket := func(local, remote string, ino uint64) procfs.InetSocket {
		return procfs.InetSocket{Local: at(local), Remote: at(remote), State: procfs.Established, Inode: ino}
	}
	any4, any6 := "0.0.0.0:0", "[::]:0"
	src, dst := at("10.0.0.1:500"), at("10.0.0.7:514")
	for name, c := range map[string]struct {
		list []procfs.InetSocket
		want []uint64
	}{
		"connected":       {[]procfs.InetSocket{socket("0.0.0.0:500", any4, 1), socket("10.0.0.1:500", "10.0.0.7:514", 2), socket("10.0.0.1:500", any4, 3)}, []uint64{2}},
		"bound":           {[]procfs.InetSocket{socket("0.0.0.0:500", any4, 1), socket("10.0.0.1:500", any4, 3)}, []uint64{3}},
		"port alone":      {[]procfs.InetSocket{socket("0.0.0.0:500", any4, 1), socket("[::]:500", any6, 4)}, []uint64{1, 4}},
		"mapped":          {[]procfs.InetSocket{socket("[::ffff:10.0.0.1]:500", "[::ffff:10.0.0.7]:514", 5)}, []uint64{5}},
		"others":          {[]procfs.InetSocket{socket("10.0.0.2:500", any4, 1), socket("10.0.0.1:501", any4, 2), socket("10.0.0.1:500", "10.0.0.8:514", 3), socket("[2001:db8::1]:500", any6, 4)}, nil},
		"without a owner": {[]procfs.InetSocket{socket("10.0.0.1:500", "10.0.0.7:514", 0)}, nil},
		"listener":        {[]procfs.InetSocket{{Local: src, Remote: at(any4), State: procfs.Listen, Inode: 6}}, nil},
	} {
		if got := best(c.list, src, dst); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}
