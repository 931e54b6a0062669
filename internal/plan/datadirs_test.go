package plan

import (
	"slices"
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
		{"relative to the working directory", DataInput{
			Args: []string{"etcd", "--data-dir", "data/m1"}, Cwd: "/srv/e",
			Written: []string{"/srv/e/data/m1/member/snap/db"},
		}, []string{"/srv/e/data/m1"}},
		{"zookeeper's is in its configuration", DataInput{
			Args:    []string{"java", "QuorumPeerMain", "/srv/z/zoo.cfg"},
			Configs: []string{"tickTime=500\ndataDir=/srv/z/data\nclientPort=2181\n"},
			Written: []string{"/srv/z/data/version-2/log.1"},
		}, []string{"/srv/z/data"}},
		{"redis with a quoted directory", DataInput{
			Configs: []string{"dir \"/srv/r/\"\n"}, Written: []string{"/srv/r/appendonlydir/a.aof"},
		}, []string{"/srv/r"}},
		{"a longer name does not match", DataInput{
			Configs: []string{"dir /srv/r10\n"}, Written: []string{"/srv/r1/x", "/srv/r1/y/z"},
		}, []string{"/srv/r1"}},
		{"a log in a broad directory stays a file", DataInput{
			Args: []string{"x", "--data=/srv/d"}, Written: []string{"/var/log/x.log", "/srv/d/a"},
		}, []string{"/srv/d", "/var/log/x.log"}},
		{"redis hides its arguments and works in its directory", DataInput{
			Args: []string{"redis-server 127.0.0.1:6379"}, Cwd: "/srv/r/r1",
			Written: []string{"/srv/r/r1/appendonlydir/a.aof", "/srv/r/r1.log"},
		}, []string{"/srv/r/r1", "/srv/r/r1.log"}},
		{"a log beside the data", DataInput{
			Args: []string{"nats", "-c", "/srv/n/n1.conf"}, Configs: []string{`store_dir: "/srv/n/n1"`},
			Written: []string{"/srv/n/n1/jetstream/x", "/srv/n/n1.log"},
		}, []string{"/srv/n/n1", "/srv/n/n1.log"}},
		{"files with nothing in common", DataInput{
			Written: []string{"/tmp/a/x", "/tmp/b/y"},
		}, []string{"/tmp/a/x", "/tmp/b/y"}},
		{"given wins", DataInput{Given: []string{"/d/", "/d/sub"}, Written: []string{"/e/f"}}, []string{"/d"}},
		{"nothing", DataInput{}, nil},
	} {
		if got := DataDirs(c.in); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
