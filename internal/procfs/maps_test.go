package procfs

import (
	"slices"
	"testing"
)

func TestParseMapsNames(t *testing.T) {
	type shape struct {
		path    string
		perms   string
		deleted bool
	}
	perms := func(v VMA) string {
		b := []byte("---p")
		for i, set := range []bool{v.Read, v.Write, v.Exec} {
			if set {
				b[i] = "rwx"[i]
			}
		}
		if v.Shared {
			b[3] = 's'
		}
		return string(b)
	}
	have := map[string]shape{}
	for _, file := range []string{"objects/maps", "go/maps", "java/maps"} {
		for _, v := range parse(t, file, ParseMaps) {
			have[v.Path] = shape{v.Path, perms(v), v.Deleted}
		}
	}
	for _, want := range []shape{
		{"/srv/data/plain file.db", "rw-s", false},
		{"/srv/data/new\nline.db", "rw-s", false},
		{`/srv/data/back\slash.db`, "rw-s", false},
		{"/srv/data/gone.db", "rw-s", true},
		{"/srv/data/private.db", "rw-p", false},
		{"/memfd:a memory", "rw-s", true},
		{"/dev/zero", "rw-s", true},
		{"/SYSV00000000", "rw-s", true},
		{"/[aio]", "rw-s", true},
		{"[heap]", "rw-p", false},
		{"[stack]", "rw-p", false},
		{"[vvar]", "r--p", false},
		{"[vvar_vclock]", "r--p", false},
		{"[vdso]", "r-xp", false},
		{"[vsyscall]", "--xp", false},
		{"/usr/lib/jvm/java-17-openjdk-amd64/lib/modules", "r--s", false},
		{"", "rw-p", false},
	} {
		got, ok := have[want.path]
		if want.path == "" {
			got.perms = want.perms // there are several
		}
		if !ok || got != want {
			t.Errorf("%q: got %+v, want %+v", want.path, got, want)
		}
	}
}

func TestParseMapsFields(t *testing.T) {
	got, err := ParseMaps([]byte("7f28648ba000-7f28648bc000 rwxs 0000f000 fe:123 9978006                    /srv/data/x (deleted)\n" +
		"7f28648bc000-7f28648bd000 rw-s 00000000 00:01 7                          [anon_shmem:cache one]\n" +
		"c000000000-c000400000 rw-p 00000000 00:00 0                          [anon: Go: heap]\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := VMA{
		Start: 0x7f28648ba000, End: 0x7f28648bc000, Read: true, Write: true, Exec: true, Shared: true, Offset: 0xf000,
		Dev: 0x10fe23, DevMajor: 0xfe, DevMinor: 0x123, Inode: 9978006, Path: "/srv/data/x", Deleted: true,
	}
	if len(got) != 3 || got[2].Path != "[anon: Go: heap]" || !equal(got[0], want) || got[1].Path != "[anon_shmem:cache one]" || got[0].Size() != 0x2000 {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// equal compares without the flags.
func equal(a, b VMA) bool {
	return a.Start == b.Start && a.End == b.End && a.Read == b.Read && a.Write == b.Write && a.Exec == b.Exec &&
		a.Shared == b.Shared && a.Offset == b.Offset && a.Dev == b.Dev && a.DevMajor == b.DevMajor &&
		a.DevMinor == b.DevMinor && a.Inode == b.Inode && a.Path == b.Path && a.Deleted == b.Deleted
}

func TestSmapsTellsWhatMapsDoes(t *testing.T) {
	short, long := parse(t, "objects/maps", ParseMaps), parse(t, "objects/smaps", ParseSmaps)
	if !slices.EqualFunc(short, long, equal) {
		t.Errorf("maps %d, smaps %d mappings, or they differ", len(short), len(long))
	}
}

func TestParseSmapsDetails(t *testing.T) {
	flagged := map[string]VMA{}
	huge := uint64(0)
	for _, v := range parse(t, "objects/smaps", ParseSmaps) {
		for _, f := range v.Flags {
			flagged[f] = v
		}
		huge = max(huge, v.AnonHugePages)
		if v.Path == "/srv/data/plain file.db" {
			want := Usage{Rss: 8192, PrivateDirty: v.PrivateDirty, PrivateClean: v.PrivateClean}
			if v.Rss != v.PrivateDirty+v.PrivateClean || v.Rss == 0 || v.Anonymous != 0 || v.SharedDirty != 0 {
				t.Errorf("usage %+v, want about %+v", v.Usage, want)
			}
			if !slices.Equal(v.Flags, []string{"rd", "wr", "sh", "mr", "mw", "me", "ms"}) {
				t.Errorf("flags %q", v.Flags)
			}
		}
	}
	for flag, size := range map[string]uint64{"dc": 4096, "wf": 4096} {
		if v := flagged[flag]; v.Size() != size || !v.Has(flag) || v.Has("zz") {
			t.Errorf("%s: %+v", flag, v)
		}
	}
	if flagged["io"].Path != "[vvar_vclock]" {
		t.Errorf("io: %+v", flagged["io"])
	}
	if huge < 2<<20 {
		t.Errorf("%d bytes of huge pages", huge)
	}
}

func TestUnknownFlagsAreKept(t *testing.T) {
	got, err := ParseSmaps([]byte("1000-2000 rw-p 00000000 00:00 0 \nVmFlags: rd qq xyz dc \n"))
	if err != nil || !slices.Equal(got[0].Flags, []string{"rd", "qq", "xyz", "dc"}) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestMalformedMaps(t *testing.T) {
	refuses(t, ParseMaps,
		"x\n", "1000-2000\n", "1000-2000 rw-\n", "1000-2000 rw-p 0 0000 0\n", "1000-2000 rw-p 0 00:00 x\n",
		"2000-1000 rw-p 0 00:00 0\n", "g000-2000 rw-p 0 00:00 0\n", "Rss: 4 kB\n", "1000-2000 rw-p 0 00:fffffffff 0\n",
		"1000-2000 rw-p 0 00:00 99999999999999999999\n")
	refuses(t, ParseSmaps, "Rss: 4 kB\n", "1000-2000 rw-p 0 00:00 0\nRss: x kB\n", "1000-2000 rw-p 0 00:00 0\nRss: 4\n", "x\n",
		"1000-2000 rw-p 0 00:00 0\nRss: 18446744073709551615 kB\n")
}

func TestUsageAdds(t *testing.T) {
	text := "1000-2000 rw-p 00000000 00:00 0 \n"
	for _, key := range []string{"Rss", "Anonymous", "AnonHugePages", "Shared_Clean", "Shared_Dirty", "Private_Clean",
		"Private_Dirty", "Shared_Hugetlb", "Private_Hugetlb", "Swap", "Locked", "Pss", "THPeligible"} {
		text += key + ":   4 kB\n"
	}
	const kb4 = 4096
	want := Usage{kb4, kb4, kb4, kb4, kb4, kb4, kb4, 2 * kb4, kb4, kb4}
	if got, err := ParseSmaps([]byte(text)); err != nil || got[0].Usage != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
}

func BenchmarkParseMaps(b *testing.B) { benchmark(b, "java/maps", ParseMaps) }

func BenchmarkParseSmaps(b *testing.B) { benchmark(b, "objects/smaps", ParseSmaps) }

func benchmark[T any](b *testing.B, name string, parse func([]byte) (T, error)) {
	text := captured(b, name)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parse(text); err != nil {
			b.Fatal(err)
		}
	}
}
