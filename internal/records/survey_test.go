package records

import (
	"reflect"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
)

// TestSurvey: a partition that lost its end on one broker, and not on the other;
// a store that nobody touched; and one that is gone.
func TestSurvey(t *testing.T) {
	log := load(t, "kafka/orders-0/00000000000000000000.log")
	short := log
	short.Size = log.Size / 2
	other := load(t, "kafka/old-0/00000000000000000000.log")
	rdb := load(t, "redis/dump.rdb")
	at := func(f File, path string) *File { f.Path = path; return &f }
	const b1, b2 = "/b1/orders-0/00000000000000000000.log", "/b2/orders-0/00000000000000000000.log"
	pairs := []Pair{
		{Path: b2, Member: "b2", Before: at(log, b2)},
		{Path: b1, Member: "b1", Before: at(log, b1), After: at(short, b1)},
		{Path: other.Path, Member: "b1", Before: &other, After: &other},
		{Path: rdb.Path, Member: "r1", Before: &rdb},
		{Path: "/d/readme", Member: "r1"},
	}
	pairs[0].After = pairs[0].Before
	var survey Surveyor
	got, left := survey.Survey(pairs, plenty())
	want := []model.Store{
		{System: "kafka", Name: "partition orders-0", Member: "b1", Path: "/b1/orders-0", Figures: []model.Figure{
			{Name: "end offset", Kind: model.FigurePosition, Before: 30, After: 15},
			{Name: "records", Kind: model.FigureEstimate, Before: 30, After: 15}}},
		{System: "kafka", Name: "partition orders-0", Member: "b2", Path: "/b2/orders-0", Figures: []model.Figure{
			{Name: "end offset", Kind: model.FigurePosition, Before: 30, After: 30},
			{Name: "records", Kind: model.FigureEstimate, Before: 30, After: 30}}},
		{System: "redis", Member: "r1", Path: "/d/redis", Figures: []model.Figure{
			{Name: "keys in dump.rdb", Kind: model.FigureCount, Before: 17}}},
	}
	if !reflect.DeepEqual(got, want) || len(left) > 0 {
		t.Errorf("got  %+v %q\nwant %+v", got, left, want)
	}
	// Another world's: what the snapshot has is known already.
	whole, again := plenty(), plenty()
	new(Surveyor).Survey(pairs, whole)
	if second, left := survey.Survey(pairs, again); !reflect.DeepEqual(second, want) || len(left) > 0 {
		t.Errorf("the second time %+v %q", second, left)
	}
	if again.Bytes <= whole.Bytes {
		t.Errorf("%d bytes are left of the budget, and %d where all is read", again.Bytes, whole.Bytes)
	}
	if _, left := new(Surveyor).Survey(pairs, &Budget{Bytes: 100}); len(left) == 0 {
		t.Error("too much to read, and nothing was said")
	}
}

func TestDescribe(t *testing.T) {
	aof := load(t, "redis/appendonlydir/appendonly.aof.1.incr.aof")
	short := aof
	short.Size = 0
	if meaning, diff, lost := Describe(Pair{Before: &aof, After: &short}, plenty()); meaning != "redis aof: 301 commands -> 0 commands" || diff != "" || lost != 301 {
		t.Errorf("%q %q %d", meaning, diff, lost)
	}
	a, b := file("/d/myid", []byte("1\n")), file("/d/myid", []byte("2\n"))
	if meaning, diff, lost := Describe(Pair{Before: &a, After: &b}, plenty()); meaning != "" || diff != "@@ -1 +1 @@\n-1\n+2\n" || lost != 0 {
		t.Errorf("%q %q %d", meaning, diff, lost)
	}
}

// TestTransactions follows creations and deletions, of sessions too.
func TestTransactions(t *testing.T) {
	tree := newTree()
	apply := func(kind int32, session uint64, old bool, body ...byte) {
		t.Helper()
		if err := tree.apply(bytesReader(body), kind, session, old, 0); err != nil {
			t.Fatal(err)
		}
	}
	path := func(name byte) []byte { return []byte{0, 0, 0, 2, '/', name} }
	node := func(name, ephemeral byte) []byte {
		return append(path(name), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, ephemeral)
	}
	apply(zkCreate, 7, false, node('a', 0)...)
	apply(zkCreate2, 7, false, node('b', 1)...)
	apply(zkCreate, 7, true, node('o', 0)...) // is in the snapshot, or was deleted since
	multi := append([]byte{0, 0, 0, 1, 0, 0, 0, zkCreate, 0, 0, 0, 15}, node('c', 0)...)
	apply(zkMulti, 7, false, multi...)
	if len(tree.nodes) != 3 || tree.lasting() != 2 {
		t.Errorf("%d nodes, %d lasting", len(tree.nodes), tree.lasting())
	}
	apply(zkCloseSession, 7, false)
	apply(zkDelete, 8, false, path('a')...)
	apply(zkDelete, 8, true, path('c')...)
	if len(tree.nodes) != 1 || tree.lasting() != 1 || tree.deleted != 2 {
		t.Errorf("%d nodes, %d lasting, %d deleted", len(tree.nodes), tree.lasting(), tree.deleted)
	}
}

// TestLongArguments: a value that is too long to be kept does not shift the keys.
func TestLongArguments(t *testing.T) {
	long := strings.Repeat("x", 100<<10)
	text := "*5\r\n$4\r\nMSET\r\n$1\r\na\r\n$102400\r\n" + long + "\r\n$1\r\nb\r\n$1\r\n1\r\n*2\r\n$3\r\nDEL\r\n$1\r\nb\r\n"
	f := file("/d/appendonly.aof", []byte(text))
	figures, whole := Store{System: "redis"}.Read([]File{f}, plenty())
	if len(figures) != 2 || figures[0].Value != 1 || figures[1].Value != 1 || !whole {
		t.Errorf("%+v %t", figures, whole)
	}
}

// TestCommands follows the keys that an append-only file names.
func TestCommands(t *testing.T) {
	for _, c := range []struct {
		commands      [][]string
		keys, deleted int64
		vague         bool
	}{
		{[][]string{{"SELECT", "0"}, {"SET", "a", "1"}, {"set", "b", "1"}, {"SET", "a", "2"}}, 2, 0, false},
		{[][]string{{"MSET", "a", "1", "b", "2"}, {"DEL", "a", "x"}}, 1, 1, false},
		{[][]string{{"SET", "a", "1"}, {"SELECT", "1"}, {"SET", "a", "1"}, {"FLUSHDB"}}, 1, 1, false},
		{[][]string{{"SET", "a", "1"}, {"SELECT", "1"}, {"SET", "a", "1"}, {"FLUSHALL"}}, 0, 2, false},
		{[][]string{{"SET", "a", "1"}, {"RENAME", "a", "b"}}, 1, 1, false},
		{[][]string{{"RPUSH", "l", "1"}, {"LPOP", "l"}}, 1, 0, true},
	} {
		a := aof{keyspace: newKeyspace()}
		a.seen = map[uint64]keySet{}
		for _, words := range c.commands {
			var args [][]byte
			for _, w := range words {
				args = append(args, []byte(w))
			}
			if err := a.apply(args); err != nil {
				t.Fatal(err)
			}
		}
		if a.known() != c.keys || a.deleted != c.deleted || a.vague != c.vague {
			t.Errorf("%q: %d keys, %d deleted, vague %t", c.commands, a.known(), a.deleted, a.vague)
		}
	}
}
