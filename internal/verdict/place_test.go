package verdict

import (
	"strings"
	"testing"
)

func TestPlace(t *testing.T) {
	for _, c := range []struct{ name, output, want string }{
		{"go", `panic: tocommit(608) is out of range [lastIndex(0)]. Was the raft log corrupted, truncated, or lost?

goroutine 134 [running]:
go.uber.org/zap/zapcore.CheckWriteAction.OnWrite(0x0?, 0x2147db348000?, {0x0?, 0x0?, 0x2147db1079a0?})
	go.uber.org/zap@v1.27.1/zapcore/entry.go:196 +0x54
go.uber.org/zap.(*SugaredLogger).Panicf(...)
	go.uber.org/zap@v1.27.1/sugar.go:229
go.etcd.io/etcd/server/v3/etcdserver.(*zapRaftLogger).Panicf(0x260?, {0x119c4d9?, 0x1d?}, {0x2147db2b7440?, 0x2147db371950?, 0x0?})
	go.etcd.io/etcd/server/v3@v3.7.3/etcdserver/zap_raft.go:102 +0x45
go.etcd.io/raft/v3.(*raftLog).commitTo(0x2147db3c5d60, 0x260)
	go.etcd.io/raft/v3@v3.7.0/log.go:326 +0xef
go.etcd.io/raft/v3.(*raft).handleHeartbeat(0x2147db380600, 0x2147db307450)
	go.etcd.io/raft/v3@v3.7.0/raft.go:1836 +0x3d
created by go.etcd.io/raft/v3.RestartNode in goroutine 1
	go.etcd.io/raft/v3@v3.7.0/node.go:287 +0x245`, "raft/v3.(*raftLog).commitTo (log.go:326) < raft/v3.(*raft).handleHeartbeat (raft.go:1836)"},
		{"nil pointer", `panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x4a]

goroutine 1 gp=0xc000002380 m=0 mp=0x1 [running]:
panic({0x4a?, 0x5?})
	/usr/lib/go/src/runtime/panic.go:792 +0x132
main.(*store).load(...)
	/home/x/store.go:44
main.main()
	/home/x/main.go:12 +0x1d

goroutine 18 [select]:
other.thing()
	/home/x/other.go:1 +0x1`, "main.(*store).load (store.go:44) < main.main (main.go:12)"},
		{"java", `java.io.IOException: outer
	at org.apache.zookeeper.server.Outer.run(Outer.java:1)
Caused by: java.lang.IllegalStateException: inner
	at java.base/java.util.Objects.requireNonNull(Objects.java:233)
	at org.apache.zookeeper.server.ZooKeeperServer.loadData(ZooKeeperServer.java:520)
	at org.apache.zookeeper.server.ZooKeeperServer.startdata(ZooKeeperServer.java:750)
	... 3 more`, "org.apache.zookeeper.server.ZooKeeperServer.loadData (ZooKeeperServer.java:520) < org.apache.zookeeper.server.ZooKeeperServer.startdata (ZooKeeperServer.java:750)"},
		{"none", "it ends\nwith words\n\tat home", ""},
	} {
		got := ""
		for _, e := range place(strings.Split(c.output, "\n")) {
			got += e.Text
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
