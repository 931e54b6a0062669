package loglines

import (
	"reflect"
	"testing"
)

// TestSplit holds lines that real servers have written, by their formats.
func TestSplit(t *testing.T) {
	for _, c := range []struct {
		name, line string
		level      Level
		template   string
	}{
		{"zap", `{"level":"warn","ts":"2026-11-23T10:54:28.719054Z","caller":"embed/config.go:956","msg":"Running http and grpc server on single port."}`,
			Warning, "Running http and grpc server on single port."},
		{"zap, with an error", `{"level":"fatal","ts":"2026-11-23T10:54:28.7Z","caller":"etcdmain/etcd.go:204","msg":"discovery failed","error":"member 8e9e05c52164694d has already been bootstrapped","stacktrace":"go.etcd.io"}`,
			Fatal, "discovery failed: member # has already been bootstrapped"},
		{"slog", `{"time":"2026-11-23T10:54:28Z","level":"ERROR","msg":"lost 3 of 12 shards"}`, Error, "lost # of # shards"},
		{"pino", `{"level":50,"time":1531171074631,"msg":"boom"}`, Error, "boom"},
		{"redis", `2370:M 23 Nov 2026 10:55:46.353 * Running mode=standalone, port=27590.`, Info, "Running mode=standalone, port=#."},
		{"redis, warning", `7:S 23 Nov 2026 10:20:30.123 # Error condition on socket for SYNC: Connection refused`, Warning, "Error condition on socket for SYNC: Connection refused"},
		{"redis, not started", `*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***`, Fatal, "*** FATAL CONFIG FILE ERROR (Redis #.#) ***"},
		{"nats", `[2012] 2026/11/23 09:12:11.104313 [ERR] Error trying to connect to route (attempt 1): dial tcp 127.0.0.1:29731: connect: connection refused`,
			Error, "Error trying to connect to route (attempt #): dial tcp #: connect: connection refused"},
		{"nats, end", `[2012] 2026/11/23 09:12:11.104313 [FTL] Can't start JetStream`, Fatal, "Can't start JetStream"},
		{"zookeeper", `2026-11-23 09:12:11,104 [myid:1] - WARN  [QuorumPeer[myid=1](plain=127.0.0.1:21811):o.a.z.s.q.QuorumCnxManager@401] - Cannot open channel to 2 at election address /127.0.0.1:31812`,
			Warning, "Cannot open channel to # at election address /#"},
		{"kafka", `[2026-11-23 09:12:11,104] ERROR [KafkaServer id=1] Fatal error during KafkaServer startup. Prepare to shutdown (kafka.server.KafkaServer)`,
			Error, "Fatal error during KafkaServer startup. Prepare to shutdown (kafka.server.KafkaServer)"},
		{"hdfs", `2026-11-23 09:12:11,104 ERROR namenode.NameNode: Failed to start namenode.`, Error, "Failed to start namenode."},
		{"hbase", `2026-11-23T09:12:11,104 WARN  [main-EventThread] zookeeper.ZKWatcher: Received ZooKeeper Event`, Warning, "Received ZooKeeper Event"},
		{"cassandra", `ERROR [main] 2026-11-23 09:12:11,104 CassandraDaemon.java:911 - Fatal exception during initialization`, Error, "# CassandraDaemon.java:# - Fatal exception during initialization"},
		{"solr", `2026-11-23 09:12:11.104 ERROR (main) [   ] o.a.s.c.SolrCore Failed to open core`, Error, "(main) [ ] o.a.s.c.SolrCore Failed to open core"},
		{"klog", `E1123 10:20:30.123456   12345 reflector.go:178] Failed to list *v1.Pod`, Error, "Failed to list *v#.Pod"},
		{"capnslog", `2026-11-23 10:20:30.123456 C | etcdmain: database file is locked`, Fatal, "etcdmain: database file is locked"},
		{"logfmt", `ts=2026-11-23T10:20:30Z caller=main.go:12 level=warn component=tsdb msg="Found healthy block" mint=17`, Warning, "Found healthy block"},
		{"postgres", `2026-11-23 10:20:30.123 UTC [4711] FATAL:  database files are incompatible with server`, Fatal, "database files are incompatible with server"},
		{"nginx", `2026/11/23 10:20:30 [error] 7#7: *1 connect() failed (111: Connection refused)`, Error, "###: *# connect() failed (#: Connection refused)"},
		{"go panic", `panic: tocommit(11) is out of range [lastIndex(4)]. Was the raft log corrupted, truncated, or lost?`,
			Fatal, "panic: tocommit(#) is out of range [lastIndex(#)]. Was the raft log corrupted, truncated, or lost?"},
		{"jvm", `Exception in thread "main" java.lang.OutOfMemoryError: Java heap space`, Fatal, `Exception in thread "main" java.lang.OutOfMemoryError: Java heap space`},
		{"libc", `double free or corruption (!prev)`, Fatal, "double free or corruption (!prev)"},
		{"no level", `listening on [::1]:8080 after 12.5ms`, None, "listening on # after #ms"},
		{"error as a word", `no errors were found, INFOrmation follows`, None, "no errors were found, INFOrmation follows"},
	} {
		got := Parse([]string{c.line})
		if len(got) != 1 || got[0].Level != c.level || got[0].Template != c.template {
			t.Errorf("%s: %+v\nwant %v %q", c.name, got, c.level, c.template)
		}
	}
}

// TestContinued keeps call stacks with the message they belong to.
func TestContinued(t *testing.T) {
	got := Parse([]string{
		"2026-11-23 09:12:11,104 [myid:1] - ERROR [main:o.a.z.s.q.QuorumPeerMain@98] - Unexpected exception, exiting abnormally",
		"java.lang.RuntimeException: Unable to run quorum server",
		"\tat org.apache.zookeeper.server.quorum.QuorumPeer.loadDataBase(QuorumPeer.java:1204)",
		"Caused by: java.io.IOException: No snapshot found, but there are log entries. Something is broken!",
		"\t... 4 more",
		"",
		"2026-11-23 09:12:11,109 [myid:1] - INFO  [main:o.a.z.a.ZKAuditProvider@42] - ZooKeeper audit is disabled.",
		"panic: boom",
		"",
		"goroutine 1 [running]:",
		"main.main()",
		"\t/tmp/x.go:4 +0x1d",
		"exit status 2",
	})
	var levels []Level
	var more []int
	for _, e := range got {
		levels, more = append(levels, e.Level), append(more, len(e.More))
	}
	if want := []Level{Error, Info, Fatal}; !reflect.DeepEqual(levels, want) {
		t.Errorf("levels %v, want %v", levels, want)
	}
	if want := []int{4, 0, 4}; !reflect.DeepEqual(more, want) {
		t.Errorf("continuing lines %v, want %v", more, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`{"level":"warn","msg":"x"}`)
	f.Add("2026-11-23 09:12:11,104 ERROR namenode.NameNode: Failed to start namenode.")
	f.Add("7:S 23 Nov 2026 10:20:30.123 # Error")
	f.Fuzz(func(t *testing.T, line string) {
		for _, e := range Parse([]string{line}) {
			if again := Template(e.Template); len(e.Template) < maxTemplate && Template(again) != again {
				t.Errorf("template %q becomes %q", e.Template, again)
			}
		}
	})
}
