package procfs

import (
	"net/netip"
	"reflect"
	"testing"
)

func TestParseInet(t *testing.T) {
	at := netip.MustParseAddrPort
	for name, want := range map[string][]InetSocket{
		"tcp": {
			{Local: at("127.0.0.1:4001"), Remote: at("0.0.0.0:0"), State: Listen, Inode: 274159},
			{Local: at("127.0.0.1:39360"), Remote: at("127.0.0.1:4001"), State: Established, Inode: 274160},
			{Local: at("127.0.0.1:58796"), Remote: at("127.0.0.1:4002"), State: Established, Inode: 274165},
			{Local: at("127.0.0.1:4001"), Remote: at("127.0.0.1:39360"), State: Established, RxQueue: 5, Inode: 274161},
		},
		"tcp6": {
			{Local: at("[::]:4002"), Remote: at("[::]:0"), State: Listen, RxQueue: 2, Inode: 274163},
			{Local: at("[::ffff:127.0.0.1]:4002"), Remote: at("[::ffff:127.0.0.1]:58796"), State: Established},
			{Local: at("[::1]:4002"), Remote: at("[::1]:50114"), State: Established},
			{Local: at("[::1]:50114"), Remote: at("[::1]:4002"), State: Established, Inode: 274164},
		},
		"udp":  {{Local: at("127.0.0.1:4003"), Remote: at("0.0.0.0:0"), State: Closed, Inode: 274166}},
		"udp6": {{Local: at("[::1]:4004"), Remote: at("[::1]:4005"), State: Established, Inode: 274167}},
	} {
		if got := parse(t, "objects/net/"+name, ParseInet); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", name, got, want)
		}
	}
}

func TestMalformedInet(t *testing.T) {
	const head = "header\n"
	refuses(t, ParseInet, head+"x\n", head+"0: 0100007F 00000000:0000 0A 0:0 00:0 0 0 0 1\n",
		head+"0: 01007F:07E8 00000000:0000 0A 0:0 00:0 0 0 0 1\n", head+"0: 0100007F:07E8 00000000:0000 0A 0 00:0 0 0 0 1\n",
		head+"0: 0100007F:17E8F 00000000:0000 0A 0:0 00:0 0 0 0 1\n", head+"0: 0100007G:07E8 00000000:0000 0A 0:0 00:0 0 0 0 1\n",
		head+"0: 0100007F0100007F0100007F0100007F00:1 00000000:0000 0A 0:0 00:0 0 0 0 1\n")
}

func TestParseNetUnix(t *testing.T) {
	got := parse(t, "objects/net/unix", ParseNetUnix)
	want := []UnixSocket{
		{Type: 1, State: 3, Inode: 274157}, {Type: 1, State: 3, Inode: 274158},
		{Flags: 0x10000, Type: 1, State: 1, Inode: 274168, Path: "/srv/data/a socket"},
		{Type: 5, State: 1, Inode: 274170, Path: "/srv/data/new\nline"},
		{Type: 2, State: 1, Inode: 274169, Path: "@abstract@name"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got[0].Listening() || !got[2].Listening() {
		t.Error("wrong listeners")
	}
	refuses(t, ParseNetUnix, "header\nx\n", "header\nd01da8f0: 2 0 0 0001 03 1\nx\n")
}

func TestParseNetlink(t *testing.T) {
	got := parse(t, "objects/net/netlink", ParseNetlink)
	want := NetlinkSocket{PortID: 11979, Groups: 5, Inode: 274171}
	if len(got) != 9 || got[0] != want || got[8].Protocol != 16 {
		t.Errorf("got %+v, want first %+v", got, want)
	}
	refuses(t, ParseNetlink, "header\nx\n", "header\nx 0 0 z 0 0 0 0 0 1\n")
}

func TestParseMountinfo(t *testing.T) {
	mounts := parse(t, "objects/mountinfo", ParseMountinfo)
	root := Mount{ID: 27, Parent: 1, Dev: 254 << 8, Root: "/", Point: "/", Options: "rw,relatime", FSType: "ext4",
		Source: "/dev/vda", SuperOptions: "rw,discard,resv_strict,resuid=65534,resgid=65534"}
	if len(mounts) != 19 || mounts[5] != root || root.ReadOnly() {
		t.Errorf("%d mounts, the sixth is %+v", len(mounts), mounts[5])
	}
	have, last := map[string]Mount{}, Mount{}
	for _, m := range parse(t, "mounts/mountinfo", ParseMountinfo) {
		if _, first := have[m.Point]; !first {
			have[m.Point] = m
		}
		last = m
	}
	s := have["/srv/pm/s"]
	for point, ok := range map[string]bool{
		"/srv/pm":            have["/srv/pm"].Source == "a #source",
		"/srv/pm/with blank": have["/srv/pm/with blank"].ReadOnly(),
		"/srv/pm/tab\tx":     have["/srv/pm/tab\tx"].FSType == "tmpfs",
		"/srv/pm/s":          s.Shared != 0,
		"/srv/pm/m":          have["/srv/pm/m"].Master == s.Shared && have["/srv/pm/m"].Dev == s.Dev,
		"/srv/pm/m over it":  last.Source == "" && last.SuperOptions == "rw",
		"/srv/pm/u":          have["/srv/pm/u"].Unbindable,
	} {
		if !ok {
			t.Errorf("%q: %+v", point, have[point])
		}
	}
	got, err := ParseMountinfo([]byte("1 2 0:70000 /a\\134b / rw shared:5 master:6 propagate_from:7 later:x - fuse.x  ro\n"))
	want := Mount{ID: 1, Parent: 2, Dev: 0x11100070, Root: `/a\b`, Point: "/", Options: "rw", Shared: 5, Master: 6, PropagateFrom: 7,
		FSType: "fuse.x", SuperOptions: "ro"}
	if err != nil || len(got) != 1 || got[0] != want || !got[0].ReadOnly() {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	refuses(t, ParseMountinfo, "x\n", "1 2 0:7 / / rw\n", "1 2 0:7 / / rw - fuse\n", "1 2 07 / / rw - a b c\n", "1 2 0:7 / / rw shared:x - a b c\n")
}
