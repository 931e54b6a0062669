package verdict

import (
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
)

func position(name string, before, after int64) model.Figure {
	return model.Figure{Name: name, Kind: model.FigurePosition, Before: before, After: after}
}

func count(name string, before, after int64) model.Figure {
	return model.Figure{Name: name, Kind: model.FigureCount, Before: before, After: after}
}

func estimate(name string, before, after int64) model.Figure {
	return model.Figure{Name: name, Kind: model.FigureEstimate, Before: before, After: after}
}

func deletions(before, after int64) model.Figure {
	return model.Figure{Name: "deletions", Kind: model.FigureDeleted, Before: before, After: after}
}

func store(system, member string, figures ...model.Figure) model.Store {
	return model.Store{System: system, Member: member, Path: "/d/" + member, Figures: figures}
}

func stores(list ...model.Store) func(*model.World) {
	return func(w *model.World) { w.Stores = list }
}

func TestRecordsLost(t *testing.T) {
	lostLog := store("kafka", "b1", position("end offset", 900, 400))
	for _, c := range []struct {
		name     string
		edits    []edit
		severity model.Severity // of the only finding, empty for none
		message  string
	}{
		{"nothing known", nil, "", ""},
		{"more", []edit{trial(stores(store("etcd", "e1", position("revision", 10, 12), count("keys", 5, 6))))}, "", ""},
		{"a log went back", []edit{trial(stores(lostLog))}, model.Error, "kafka: end offset went back from 900 to 400"},
		{"in the control too", []edit{trial(stores(lostLog)), control(stores(lostLog))}, "", ""},
		{"less far in the control", []edit{trial(stores(lostLog)), control(stores(store("kafka", "b1", position("end offset", 900, 800))))}, model.Error, "900 to 400"},
		{"nobody looked at the control", []edit{trial(stores(lostLog)), control(func(w *model.World) { w.Incomplete = []string{"files"} })}, model.Unproven, "900 to 400"},
		{"a replica has it", []edit{trial(stores(lostLog, store("kafka", "b2", position("end offset", 900, 900))))}, model.Warning, "end offset of b1 went back from 900 to 400; another member has as much"},
		{"a replica has it, as in the control", []edit{
			trial(stores(lostLog, store("kafka", "b2", position("end offset", 900, 900)))),
			control(stores(lostLog, store("kafka", "b2", position("end offset", 900, 900)))),
		}, "", ""},
		{"one of two shards is empty", []edit{trial(stores(store("redis", "r1", count("keys", 100, 0), deletions(0, 0)), store("redis", "r2", count("keys", 120, 120), deletions(0, 0))))}, model.Warning, "keys of r1 went back from 100 to 0"},
		{"one of two shards was flushed", []edit{trial(stores(store("redis", "r1", count("keys", 100, 0), deletions(0, 100)), store("redis", "r2", count("keys", 120, 120), deletions(0, 0))))}, "", ""},
		{"all replicas lost it", []edit{trial(stores(lostLog, store("kafka", "b2", position("end offset", 899, 0))))}, model.Error, "900 to 400"},
		{"compaction", []edit{trial(stores(store("kafka", "b1", position("end offset", 900, 901), estimate("records", 900, 40))))}, model.Warning, "900 records before the action, 40 after it; they may have expired"},
		{"nodes gone", []edit{trial(stores(store("zookeeper", "z1", position("last zxid", 10, 20), count("lasting znodes", 1000, 4), deletions(3, 3))))}, model.Error, "1000 lasting znodes before the action, 4 after it"},
		{"nodes deleted", []edit{trial(stores(store("zookeeper", "z1", position("last zxid", 10, 20), count("lasting znodes", 1000, 990), deletions(3, 13))))}, model.Warning, "10 deletions are on record"},
		{"fewer deleted than gone", []edit{trial(stores(store("zookeeper", "z1", position("last zxid", 10, 20), count("lasting znodes", 1000, 990), deletions(3, 12))))}, model.Error, "990 after it"},
		{"a log of deletions begun anew", []edit{trial(stores(store("redis", "r1", count("keys", 1000, 990), deletions(3, 0))))}, model.Warning, "begun anew"},
		{"begun anew, and nothing left", []edit{trial(stores(store("redis", "r1", count("keys", 1000, 0), deletions(3, 0))))}, model.Error, "0 after it"},
		{"nobody knows", []edit{trial(stores(store("redis", "r1", count("keys in dump.rdb", 1000, 990))))}, model.Warning, "they may have been deleted"},
		{"nothing left", []edit{trial(stores(store("redis", "r1", count("keys in dump.rdb", 1000, 0))))}, model.Error, "0 after it"},
		{"as many expired in the control", []edit{
			trial(stores(store("redis", "r1", count("keys in dump.rdb", 1000, 990)))),
			control(stores(store("redis", "r1", count("keys in dump.rdb", 1000, 985)))),
		}, "", ""},
		{"keys deleted in etcd", []edit{trial(stores(store("etcd", "e1", position("revision", 10, 12), count("keys", 5, 0))))}, model.Warning, "the revision went on from 10 to 12"},
		{"etcd wiped", []edit{trial(stores(store("etcd", "e1", position("revision", 10, 1), count("keys", 5, 0))))}, model.Error, "revision went back from 10 to 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := Judge(healthy(c.edits...))
			var found []model.Finding
			for _, f := range v.Findings {
				if strings.HasPrefix(f.Rule, "records-") {
					found = append(found, f)
				}
			}
			if c.severity == "" && len(found) == 0 {
				return
			}
			if len(found) != 1 || found[0].Severity != c.severity || !strings.Contains(found[0].Message, c.message) || len(found[0].Evidence) == 0 || found[0].Control == "" {
				t.Errorf("got %+v", found)
			}
			if c.severity == model.Error && (v.Status != model.Fail || len(v.Differences) == 0) {
				t.Errorf("%s: %s", v.Status, v.Reason)
			}
		})
	}
}

func TestStoresAreCompared(t *testing.T) {
	v := Judge(healthy(
		trial(stores(store("etcd", "e1", position("revision", 10, 7), count("keys", 5, 5)), store("etcd", "e2", position("revision", 9, 7)))),
		control(stores(store("etcd", "e1", position("revision", 10, 11), count("keys", 5, 5)))),
	))
	want := model.Difference{What: "revision of etcd", Trial: "10, then 7", Control: "10, then 11"}
	if got := v.Differences[len(v.Differences)-1]; got != want {
		t.Errorf("got %+v", got)
	}
	for _, d := range v.Differences {
		if d.What == "keys of etcd" {
			t.Errorf("equal figures are no difference: %+v", d)
		}
	}
}

// TestLostRecordsAreAnEffect: a file that changes in both worlds, and loses
// something in one.
func TestLostRecordsAreAnEffect(t *testing.T) {
	f := model.FileChange{Sign: "~", Path: "/d/wal", Old: 10, New: 10, Meaning: "etcd wal: entries 1..9 -> entries 1..4", Lost: 5}
	files := func(f model.FileChange) func(*model.World) {
		return func(w *model.World) { w.Files = []model.FileChange{f} }
	}
	calm := f
	calm.Lost, calm.Meaning = 0, "etcd wal: entries 1..9 -> entries 1..12"
	if got := Judge(healthy(trial(files(f)), control(files(calm)))).Effects; len(got) != 1 || got[0].Detail != "10 B, other content; "+f.Meaning {
		t.Errorf("got %+v", got)
	}
	if got := Judge(healthy(trial(files(f)), control(files(f)))).Effects; len(got) != 0 {
		t.Errorf("got %+v", got)
	}
}
