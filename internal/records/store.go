package records

import (
	"path"
	"strings"
)

// A Store is the data of one replica. Replicas of the same data, on other
// members, have equal stores.
type Store struct {
	System string
	// Name says which data of the system, such as a partition; empty for all.
	Name string
}

// String is s as a finding names it.
func (s Store) String() string {
	if s.Name == "" {
		return s.System
	}
	return s.System + " " + s.Name
}

// StoreOf tells which store a file belongs to, by its path alone.
func StoreOf(file string) (s Store, ok bool) {
	f := File{Path: file}
	dir := path.Dir(file)
	switch {
	case isEtcdWAL(f) && path.Base(dir) == "wal", isEtcdSnap(f), f.base() == "db" && path.Base(dir) == "snap":
		return Store{System: "etcd"}, true
	case isKafkaLog(f) && kafkaPartition.MatchString(path.Base(dir)):
		return Store{System: "kafka", Name: "partition " + path.Base(dir)}, true
	case zkSnapshotName.MatchString(f.base()) || zkLogName.MatchString(f.base()):
		return Store{System: "zookeeper"}, path.Base(dir) == "version-2"
	case natsBlockName.MatchString(f.base()) && path.Base(dir) == "msgs":
		return natsStore(path.Dir(dir))
	case strings.HasSuffix(f.base(), ".rdb") && !strings.HasPrefix(f.base(), "temp-"),
		strings.HasSuffix(f.base(), ".aof"), isAOFManifest(f):
		return Store{System: "redis"}, true
	}
	return Store{}, false
}

// natsStore is .../jetstream/ACCOUNT/streams/NAME, or .../_js_/GROUP for the log
// of a Raft group, which is compacted and thrown away as servers like.
func natsStore(dir string) (Store, bool) {
	parts := strings.Split(dir, "/")
	n := len(parts)
	if n >= 3 && parts[n-2] == "streams" {
		return Store{System: "jetstream", Name: "stream " + parts[n-3] + "/" + parts[n-1]}, true
	}
	return Store{}, false
}

// Read says what the files of a store hold. Without files it is all 0. It returns
// nothing of what is too much to read; ok tells whether that was all.
func (s Store) Read(files []File, b *Budget) (figures []Figure, ok bool) {
	readers := map[string]func([]File, *Budget) ([]Figure, error){
		"etcd": readEtcd, "kafka": readKafka, "zookeeper": readZK, "jetstream": readNATS, "redis": readRedis,
	}
	figures, err := readers[s.System](files, b)
	return figures, err == nil
}
