package plan

import (
	"path"
	"slices"
	"strings"
	"testing"
)

func TestDataDirs(t *testing.T) {
	for _, c := range []struct {
		name string
		in   DataInput
		want []string
	}{
		{"etcd names its directory", DataInput{
			Args:    []string{"etcd", "--name=m1", "--data-dir=/srv/e/m1"},
			Written: []string{"/srv/e/m1/member/wal/0.wal", "/srv/e/m1/member/snap/db"},
		}, []string{"/srv/e/m1"}},
		{"etcd with its log beside its directory", DataInput{
			Args:    []string{"etcd", "--data-dir", "/srv/e/m1/"},
			Written: []string{"/srv/e/m1/member/snap/db", "/srv/e/m1.log"},
		}, []string{"/srv/e/m1", "/srv/e/m1.log"}},
		{"etcd with a log directory in its own", DataInput{
			Args:    []string{"etcd", "--data-dir=/srv/e/m1", "--wal-dir=/srv/e/m1/wal"},
			Written: []string{"/srv/e/m1/member/snap/db", "/srv/e/m1/wal/0.wal"},
		}, []string{"/srv/e/m1"}},
		{"etcd in the directory of all, with its log", DataInput{
			Args: []string{"etcd", "--data-dir=/srv/e/m1"}, Cwd: "/srv/e",
			Written: []string{"/srv/e/m1/member/snap/db", "/srv/e/m1.log"}, Others: []string{"/srv/e/m2/member/snap/db"},
		}, []string{"/srv/e/m1", "/srv/e/m1.log"}},
		{"etcd's default", DataInput{
			Args: []string{"etcd"}, Cwd: "/root",
			Written: []string{"/root/default.etcd/member/wal/0.wal", "/root/default.etcd/member/snap/db"},
		}, []string{"/root/default.etcd/member"}},
		{"relative to the working directory", DataInput{
			Args: []string{"etcd", "--data-dir", "data/m1"}, Cwd: "/srv/e",
			Written: []string{"/srv/e/data/m1/member/snap/db"},
		}, []string{"/srv/e/data/m1"}},
		{"a bare word after a flag", DataInput{
			Args: []string{"etcd", "--data-dir", "m1"}, Cwd: "/srv/e", Written: []string{"/srv/e/m1/member/snap/db"},
		}, []string{"/srv/e/m1"}},
		{"a bare word that is no path", DataInput{
			Args: []string{"server", "run", "start"}, Cwd: "/", Written: []string{"/srv/e/run/x/1", "/srv/e/run/x/2"},
		}, []string{"/srv/e/run/x"}},
		{"the working directory itself", DataInput{
			Args: []string{"server", "-d", "."}, Cwd: "/srv/e", Written: []string{"/srv/e/run/x/1"},
		}, []string{"/srv/e"}},
		{"zookeeper's is in its configuration", DataInput{
			Args:    []string{"java", "QuorumPeerMain", "/srv/z/zoo.cfg"},
			Configs: []string{"tickTime=500\ndataDir=/srv/z/data\nclientPort=2181\n"},
			Written: []string{"/srv/z/data/version-2/log.1", "/var/log/zookeeper/zookeeper.log"},
		}, []string{"/srv/z/data", "/var/log/zookeeper/zookeeper.log"}},
		{"zookeeper with two", DataInput{
			Configs: []string{"dataDir=/srv/z/data\r\ndataLogDir=/fast/z/log\r\n"},
			Written: []string{"/srv/z/data/version-2/currentEpoch", "/fast/z/log/version-2/log.1"},
		}, []string{"/fast/z/log", "/srv/z/data"}},
		{"redis with a quoted directory", DataInput{
			Configs: []string{"dir \"/srv/r/\"\n"}, Written: []string{"/srv/r/appendonlydir/a.aof"},
		}, []string{"/srv/r"}},
		{"redis hides its arguments and works in its directory", DataInput{
			Args: []string{"redis-server 127.0.0.1:6379"}, Cwd: "/srv/r/r1",
			Written: []string{"/srv/r/r1/appendonlydir/a.aof", "/srv/r/r1.log"},
		}, []string{"/srv/r/r1", "/srv/r/r1.log"}},
		{"redis hides its arguments and all work in one directory", DataInput{
			Args: []string{"redis-server 127.0.0.1:6379"}, Cwd: "/srv/r",
			Written: []string{"/srv/r/1/dump.rdb"}, Others: []string{"/srv/r/2/dump.rdb"},
		}, []string{"/srv/r/1"}},
		{"redis with a relative directory", DataInput{
			Configs: []string{"appendonly yes\ndir ./\n"}, Cwd: "/srv/r", Written: []string{"/srv/r/appendonlydir/a.aof"},
		}, []string{"/srv/r"}},
		{"NATS", DataInput{
			Configs: []string{"jetstream {\n  store_dir: '/srv/n/js'\n}\nlog_file: \"/srv/n/nats.log\"\n"},
			Written: []string{"/srv/n/js/jetstream/A/streams/S/msgs/1.blk", "/srv/n/nats.log"},
		}, []string{"/srv/n/js", "/srv/n/nats.log"}},
		{"a log beside the data", DataInput{
			Args: []string{"nats", "-c", "/srv/n/n1.conf"}, Configs: []string{`store_dir: "/srv/n/n1"`},
			Written: []string{"/srv/n/n1/jetstream/x", "/srv/n/n1.log"},
		}, []string{"/srv/n/n1", "/srv/n/n1.log"}},
		{"NATS on the command line", DataInput{
			Args: []string{"nats-server", "-js", "-sd", "/srv/n/js"}, Written: []string{"/srv/n/js/jetstream/A/1.blk"},
		}, []string{"/srv/n/js"}},
		{"kafka with a list", DataInput{
			Args:    []string{"java", "-Dkafka.logs.dir=/opt/kafka/logs", "kafka.Kafka", "/opt/kafka/server.properties"},
			Configs: []string{"log.dirs=/data/k1,/data/k2\n"},
			Written: []string{"/data/k1/t-0/0.log", "/data/k2/t-1/0.index", "/opt/kafka/logs/server.log"},
		}, []string{"/data/k1", "/data/k2", "/opt/kafka/logs"}},
		{"cassandra", DataInput{
			Args:    []string{"java", "-Dcassandra.storagedir=/var/lib/cassandra", "-Xlog:gc:file=/var/log/cassandra/gc.log:time"},
			Configs: []string{"data_file_directories:\n    - /var/lib/cassandra/data\ncommitlog_directory: /var/lib/cassandra/commitlog\n"},
			Written: []string{"/var/lib/cassandra/data/k/t/nb-1-Data.db", "/var/lib/cassandra/commitlog/1.log",
				"/var/lib/cassandra/hints/1.hints", "/var/log/cassandra/gc.log", "/var/log/cassandra/system.log"},
		}, []string{"/var/lib/cassandra", "/var/log/cassandra"}},
		{"an address of a file", DataInput{
			Args: []string{"x", "--store=file:///srv/f"}, Written: []string{"/srv/f/a/b"},
		}, []string{"/srv/f"}},
		{"a longer name does not match", DataInput{
			Configs: []string{"dir /srv/r10\n"}, Written: []string{"/srv/r1/x", "/srv/r1/y/z"},
		}, []string{"/srv/r1"}},
		{"a path inside a longer one does not match", DataInput{
			Configs: []string{"dir /mnt/srv/r1\nother /srv/r1/srv/r1\n"}, Written: []string{"/srv/r1/a/x"},
		}, []string{"/srv/r1/a"}},
		{"a log in a broad directory stays a file", DataInput{
			Args: []string{"x", "--data=/srv/d"}, Written: []string{"/var/log/x.log", "/srv/d/a"},
		}, []string{"/srv/d", "/var/log/x.log"}},
		{"a broad directory that is named", DataInput{
			Args: []string{"x", "--dir=/var/lib"}, Written: []string{"/var/lib/x.db"},
		}, []string{"/var/lib/x.db"}},
		{"a home directory", DataInput{Cwd: "/home/u", Written: []string{"/home/u/x.db"}}, []string{"/home/u/x.db"}},
		{"files with nothing in common", DataInput{
			Written: []string{"/tmp/a/x", "/tmp/b/y"},
		}, []string{"/tmp/a/x", "/tmp/b/y"}},
		{"some files with a directory in common", DataInput{
			Written: []string{"/var/lib/x/1/a", "/var/lib/x/2/b", "/var/log/x.log", "/var/lib/y.db", "/z.db"},
		}, []string{"/var/lib/x", "/var/lib/y.db", "/var/log/x.log", "/z.db"}},
		{"another member's files", DataInput{
			Written: []string{"/srv/r/1.aof", "/srv/r/1/a", "/srv/r/1/b"}, Others: []string{"/srv/r/2.aof"},
		}, []string{"/srv/r/1", "/srv/r/1.aof"}},
		{"a directory of another member's alone", DataInput{
			Written: []string{"/srv/r1/x"}, Others: []string{"/srv/r2/x"},
		}, []string{"/srv/r1"}},
		{"given wins", DataInput{Given: []string{"/d/", "/d/sub"}, Written: []string{"/e/f"}}, []string{"/d"}},
		{"everything given", DataInput{Given: []string{"/", "/d"}}, []string{"/"}},
		{"nothing", DataInput{}, nil},
	} {
		if got := DataDirs(c.in); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// FuzzDataDirs holds the result against what must be true of any: each written
// file is covered, nothing lies in anything else, nothing is broad, and the
// order of the input does not matter.
func FuzzDataDirs(f *testing.F) {
	f.Add("/srv/e/m1/a\n/var/log/x.log\n/srv/e/m1/b/c", "--data-dir\n/srv/e/m1", "dir ./x", "/srv/e")
	f.Add("/tmp/a/x\n/tmp/b/y\n/x", "", "", "")
	f.Add("/x/a\n/x\n/y", "", "", "") // x is a file and a directory: they are read one after the other
	f.Fuzz(func(t *testing.T, written, args, config, cwd string) {
		in := DataInput{Args: strings.Split(args, "\n"), Configs: []string{config}, Cwd: cwd}
		for _, w := range strings.Split(written, "\n") {
			if path.IsAbs(w) && path.Clean(w) == w && w != "/" && !isBroad(w) {
				in.Written = append(in.Written, w)
			}
		}
		got := DataDirs(in)
		for _, w := range in.Written {
			if !slices.ContainsFunc(got, func(d string) bool { return within(w, d) }) {
				t.Errorf("%q is not in %q", w, got)
			}
		}
		for _, d := range got {
			if isBroad(d) {
				t.Errorf("%q is broad", d)
			}
		}
		if again := Tidy(got); !slices.Equal(again, got) {
			t.Errorf("%q is not tidy", got)
		}
		slices.Reverse(in.Written)
		if other := DataDirs(in); !slices.Equal(other, got) {
			t.Errorf("%q in another order is %q", got, other)
		}
	})
}

// TestKnownDataDirs: what is known of the system comes first, and what is open
// beside it is found as ever.
func TestKnownDataDirs(t *testing.T) {
	for _, c := range []struct {
		in   DataInput
		want []string
	}{
		{DataInput{Known: []string{"/d/n1"}}, []string{"/d/n1"}},
		{DataInput{Known: []string{"/d/n1"}, Written: []string{"/d/n1/js/meta/1.blk", "/logs/n1.log"}}, []string{"/d/n1", "/logs"}},
		{DataInput{Known: []string{"/d/n1"}, Written: []string{"/d/n1.log"}, Others: []string{"/d/n2.log"}}, []string{"/d/n1", "/d/n1.log"}},
		{DataInput{Known: []string{"/var/lib"}, Written: []string{"/d/n1/x", "/d/n1/y"}}, []string{"/d/n1"}},
		{DataInput{Known: []string{"/d/n1"}, Given: []string{"/e"}}, []string{"/e"}},
	} {
		if got := DataDirs(c.in); !slices.Equal(got, c.want) {
			t.Errorf("%+v: got %q, want %q", c.in, got, c.want)
		}
	}
}
