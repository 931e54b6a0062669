package records

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
)

// file is text under a name.
func file(path string, text []byte) File {
	return File{Path: path, Size: int64(len(text)), Data: bytes.NewReader(text)}
}

// load reads a file of testdata, which real servers wrote.
func load(t testing.TB, path string) File {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", path))
	if err != nil {
		t.Fatal(err)
	}
	return file("/d/"+path, text)
}

func plenty() *Budget { return &Budget{Bytes: 1 << 30} }

// TestLook reads files of real servers: etcd 3.7.3 and NATS 2.15.2 with 150 writes,
// ZooKeeper with 150 nodes, Redis 7.0.15 with one key of each type, Kafka 3.9.0.
func TestLook(t *testing.T) {
	for path, want := range map[string]string{
		"etcd/member/wal/0000000000000000-0000000000000000.wal": "etcd wal: entries 1..158, term 2, committed 152",
		"etcd/member/snap/db":                           "etcd db: revision 151, 150 keys, 10 pages, keys: alarm 0, auth 1, authRoles 0, authUsers 0, cluster 1, key 150, lease 0, members 3, members_removed 0, meta 4",
		"zookeeper/version-2/snapshot.0":                "zookeeper snapshot: 3 znodes, 0 ephemeral, 0 sessions, zxid 0x0",
		"zookeeper/version-2/log.100000001":             "zookeeper log: 184 transactions, zxid 0x100000001..0x1000000b8",
		"nats/jetstream/ACC/streams/load/msgs/1.blk":    "jetstream block: messages 1..150, 150 messages",
		"nats/jetstream/SYS/_js_/_meta_/msgs/1.blk":     "jetstream block: messages 10..10, 1 message",
		"redis/dump.rdb":                                "redis rdb: db0 16 keys (1 expire), db3 1 key",
		"redis/appendonlydir/appendonly.aof.1.base.rdb": "redis rdb: no keys",
		"redis/appendonlydir/appendonly.aof.1.incr.aof": "redis aof: 301 commands",
		"redis/appendonlydir/appendonly.aof.manifest":   "redis aof manifest: appendonly.aof.1.base.rdb, appendonly.aof.1.incr.aof",
		"kafka/orders-0/00000000000000000000.log":       "kafka log: offsets 0..29, 30 records, 10 batches",
		"kafka/old-0/00000000000000000000.log":          "kafka log: offsets 0..4, 5 records, 5 batches",
	} {
		c, ok := Look(load(t, path), plenty())
		if got := c.Format + ": " + c.String(); !ok || got != want {
			t.Errorf("%s: got  %s\nwant %s", path, got, want)
		}
	}
}

// TestCutOff: a file that ends too early tells of what is whole.
func TestCutOff(t *testing.T) {
	for path, want := range map[string]string{
		"etcd/member/wal/0000000000000000-0000000000000000.wal": "entries 1..",
		"zookeeper/version-2/log.100000001":                     "transactions, zxid 0x100000001..",
		"nats/jetstream/ACC/streams/load/msgs/1.blk":            "messages 1..",
		"redis/dump.rdb": "db0 ",
		"redis/appendonlydir/appendonly.aof.1.incr.aof": "commands",
		"kafka/orders-0/00000000000000000000.log":       "offsets 0..",
	} {
		f := load(t, path)
		whole, _ := Look(f, plenty())
		f.Size = f.Size*2/3 - 1
		if strings.Contains(path, "wal") {
			f.Size = 9000
		}
		cut, ok := Look(f, plenty())
		if !ok || !strings.Contains(cut.Text, want) || !strings.Contains(cut.Text, "cut off") {
			t.Errorf("%s: %+v", path, cut)
		}
		if lost := Lost(&whole, &cut); lost <= 0 || lost != whole.Records-cut.Records {
			t.Errorf("%s: lost %d", path, lost)
		}
	}
}

func TestBudget(t *testing.T) {
	f := load(t, "redis/appendonlydir/appendonly.aof.1.incr.aof")
	f.Data = bytes.NewReader(bytes.Repeat([]byte("*1\r\n$4\r\nPING\r\n"), 1<<14))
	f.Size = 14 << 14
	for name, b := range map[string]*Budget{
		"bytes": {Bytes: 100 << 10},
		"stop":  {Bytes: 1 << 30, Stop: func() bool { return true }},
	} {
		c, ok := Look(f, b)
		if !ok || !c.Partial || b.Bytes != 0 && name == "stop" || c.Records >= 1<<14 {
			t.Errorf("%s: %+v, %d left", name, c, b.Bytes)
		}
		if whole, _ := Look(f, plenty()); Lost(&whole, &c) != 0 {
			t.Errorf("%s: what was not read is not lost", name)
		}
	}
}

func TestMeaning(t *testing.T) {
	a, b := &Content{Format: "f", Text: "3", Records: 3}, &Content{Format: "f", Text: "1", Records: 1}
	other := &Content{Format: "g", Text: "1", Records: 1}
	for _, c := range []struct {
		before, after *Content
		want          string
		lost          int64
	}{
		{nil, nil, "", 0},
		{nil, a, "f: 3", 0},
		{a, nil, "f: 3 -> no file", 3},
		{a, b, "f: 3 -> 1", 2},
		{b, a, "f: 1 -> 3", 0},
		{a, a, "f: 3, as before", 0},
		{a, other, "f: 3 -> g: 1", 0},
	} {
		if got, lost := Meaning(c.before, c.after), Lost(c.before, c.after); got != c.want || lost != c.lost {
			t.Errorf("got %q, %d, want %q, %d", got, lost, c.want, c.lost)
		}
	}
}

// storeFiles is every file of testdata below dir.
func storeFiles(t *testing.T, dir string) (files []File) {
	err := fs.WalkDir(os.DirFS("testdata"), dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, load(t, path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestStores(t *testing.T) {
	for _, c := range []struct {
		dir  string
		want []Figure
	}{
		{"etcd", []Figure{{"committed index", model.FigurePosition, 152}, {"revision", model.FigurePosition, 151}, {"keys", model.FigureCount, 150}}},
		{"zookeeper", []Figure{{"last zxid", model.FigurePosition, 0x1000000b8}, {"lasting znodes", model.FigureCount, 160}, {"deletions", model.FigureDeleted, 0}}},
		{"nats/jetstream/ACC", []Figure{{"last sequence", model.FigurePosition, 150}, {"messages", model.FigureEstimate, 150}}},
		{"redis", []Figure{{"keys in dump.rdb", model.FigureCount, 17}, {"keys in the append-only file", model.FigureCount, 156}, {"deletions", model.FigureDeleted, 0}}},
		{"kafka/orders-0", []Figure{{"end offset", model.FigurePosition, 30}, {"records", model.FigureEstimate, 30}}},
	} {
		files := storeFiles(t, c.dir)
		store, ok := StoreOf(files[0].Path)
		for _, f := range files {
			if s, known := StoreOf(f.Path); !known || s != store {
				t.Errorf("%s is of %v", f.Path, s)
			}
		}
		got, whole := store.Read(files, plenty())
		if !ok || !whole || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v: got %v, want %v", c.dir, store, got, c.want)
		}
		for n := int64(0); n < 3; n++ {
			if _, whole := store.Read(files, &Budget{Bytes: n * 100}); whole {
				t.Errorf("%s: whole within %d bytes", c.dir, n*100)
			}
		}
		if got, whole := store.Read(nil, plenty()); !whole || sum(got) != 0 {
			t.Errorf("%s: without files %v", c.dir, got)
		}
	}
}

func sum(figures []Figure) (n int64) {
	for _, f := range figures {
		n += f.Value
	}
	return n
}

func TestStoreOf(t *testing.T) {
	for path, want := range map[string]string{
		"/d/member/wal/0000000000000001-0000000000000200.wal":   "etcd",
		"/d/member/snap/0000000000000001-0000000000000200.snap": "etcd",
		"/d/member/snap/db":                    "etcd",
		"/d/db":                                "",
		"/k/orders-3/00000000000000000007.log": "kafka partition orders-3",
		"/k/__cluster_metadata-0/00000000000000000007.log": "kafka partition __cluster_metadata-0",
		"/k/orders/00000000000000000007.log":               "",
		"/z/version-2/log.1":                               "zookeeper",
		"/z/log.1":                                         "",
		"/n/jetstream/$G/streams/S/msgs/7.blk":             "jetstream stream $G/S",
		"/n/jetstream/$G/streams/S/obs/C/msgs/7.blk":       "",
		"/n/jetstream/$SYS/_js_/_meta_/msgs/7.blk":         "",
		"/r/dump.rdb":                                      "redis",
		"/r/temp-17.rdb":                                   "",
		"/r/appendonlydir/appendonly.aof.manifest":         "redis",
	} {
		s, ok := StoreOf(path)
		if ok != (want != "") || ok && s.String() != want {
			t.Errorf("%s: %v %t", path, s, ok)
		}
	}
}

func TestDiff(t *testing.T) {
	for _, c := range []struct{ before, after, want string }{
		{"a\nb\nc\n", "a\nb\nc\n", ""},
		{"", "x\n", "@@ -1 +1 @@\n+x\n"},
		{"x\n", "", "@@ -1 +1 @@\n-x\n"},
		{"1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nfive\n6\n7\n8\n9\n", "@@ -3 +3 @@\n 3\n 4\n-5\n+five\n 6\n 7\n"},
		{"a\nb\n1\n2\n3\n4\n5\n6\nc\nd\n", "a\nB\n1\n2\n3\n4\n5\n6\nC\nd\n", "@@ -1 +1 @@\n a\n-b\n+B\n 1\n 2\n@@ -7 +7 @@\n 5\n 6\n-c\n+C\n d\n"},
		{"a\x00", "b", ""},
		{strings.Repeat("x", maxText+1), "b", ""},
	} {
		before, after := file("a", []byte(c.before)), file("b", []byte(c.after))
		if got := Diff(&before, &after, plenty()); got != c.want {
			t.Errorf("%.40q %.40q: got\n%s\nwant\n%s", c.before, c.after, got, c.want)
		}
	}
	long := file("a", []byte(strings.Repeat(strings.Repeat("é", 400)+"\n", 200)))
	got := Diff(nil, &long, plenty())
	if strings.Count(got, "\n") != maxDiffLines+2 || len(got) > maxDiffLines*(maxDiffLine+10) || strings.ContainsRune(got, '\uFFFD') {
		t.Errorf("%d lines, %d bytes", strings.Count(got, "\n"), len(got))
	}
}

func FuzzLook(f *testing.F) {
	err := fs.WalkDir(os.DirFS("testdata"), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(path, "fuzz/") {
			return err
		}
		text, err := os.ReadFile(filepath.Join("testdata", path))
		// Large inputs make the fuzzer slow.
		f.Add("/d/"+path, text[:min(len(text), 1500)])
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string, text []byte) {
		in := file(path, text)
		b := &Budget{Bytes: 4 << 20}
		c, ok := Look(in, b)
		if ok && (c.Format == "" || c.Records < 0) || b.Bytes < 0 {
			t.Errorf("%+v, %d left", c, b.Bytes)
		}
		if s, ok := StoreOf(path); ok {
			figures, _ := s.Read([]File{in}, &Budget{Bytes: 4 << 20})
			for _, f := range figures {
				if f.Kind != model.FigurePosition && f.Value < 0 {
					t.Errorf("%+v", f)
				}
			}
		}
		_ = Diff(nil, &in, b)
	})
}

// FuzzBolt gives its input a first page whose checksum is right.
func FuzzBolt(f *testing.F) {
	whole := load(f, "etcd/member/snap/db")
	text := make([]byte, whole.Size)
	if _, err := whole.Data.ReadAt(text, 0); err != nil {
		f.Fatal(err)
	}
	const page = 512 // as small as it can be
	for at := 2 * 4096; at+4096 <= len(text); at += 4096 {
		f.Add(uint64(1), text[at:at+page])
		f.Add(uint64(1), text[at+3000:at+3000+page])
	}
	f.Fuzz(func(t *testing.T, root uint64, pages []byte) {
		head := make([]byte, page)
		meta := head[boltHeader:]
		copy(meta, boltMagic)
		binary.LittleEndian.PutUint32(meta[8:], page)
		binary.LittleEndian.PutUint64(meta[16:], root)
		binary.LittleEndian.PutUint64(meta[40:], 1<<60)
		sum := fnv.New64a()
		_, _ = sum.Write(meta[:boltMetaSum])
		binary.LittleEndian.PutUint64(meta[boltMetaSum:], sum.Sum64())
		in := file("/d/member/snap/db", append(head, pages...))
		if c, ok := Look(in, plenty()); !ok || c.Records < 0 {
			t.Errorf("%+v", c)
		}
	})
}
