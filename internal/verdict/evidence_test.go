package verdict

import (
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
)

func TestQuotePicksTheReason(t *testing.T) {
	for _, tt := range []struct {
		name, output, want string
		gaveUp, panicked   bool
	}{
		{"zap", `{"level":"info","msg":"raft"}` + "\n" + `{"level":"fatal","msg":"member not found"}` + "\n" + `bye`, `{"level":"fatal","msg":"member not found"}`, true, false},
		{"go panic", "starting\npanic: tocommit(9) is out of range\n\ngoroutine 1 [running]:\nmain.main()", "panic: tocommit(9) is out of range", true, true},
		{"go throw", "fatal error: concurrent map writes", "fatal error: concurrent map writes", true, true},
		{"java", "INFO x\norg.apache.zookeeper.KeeperException: gone\n\tat a.b(C.java:1)\nCaused by: java.io.IOException: no", "org.apache.zookeeper.KeeperException: gone|Caused by: java.io.IOException: no", false, false},
		{"java thread", "Exception in thread \"main\" java.lang.Error", "Exception in thread \"main\" java.lang.Error", true, false},
		{"nats", "[1] 2026/01/01 [INF] up\n[1] 2026/01/01 [FTL] cannot bind", "[1] 2026/01/01 [FTL] cannot bind", true, false},
		{"log4j", "2026-01-01 ERROR x\n2026-01-01 FATAL y", "2026-01-01 FATAL y", true, false},
		{"assertion", "redis: raft.c:3: f: Assertion `x' failed.", "redis: raft.c:3: f: Assertion `x' failed.", true, true},
		{"rust", "thread 'main' panicked at src/main.rs:1", "thread 'main' panicked at src/main.rs:1", true, true},
		{"nothing special", "1\n2\n\n3\n4\n5\n6\n", "2|3|4|5|6", false, false},
		{"many", strings.Repeat("panic: x\n", 9), "panic: x|panic: x|panic: x|panic: x|panic: x", true, true},
		{"silent", "", "", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			output := lines(tt.output)
			var got []string
			for _, e := range quote("log", output) {
				got = append(got, e.Text)
			}
			if strings.Join(got, "|") != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if gaveUp(output) != tt.gaveUp || panicked(output) != tt.panicked {
				t.Errorf("gaveUp %t, panicked %t", gaveUp(output), panicked(output))
			}
		})
	}
}

func TestClipKeepsRunesWhole(t *testing.T) {
	if got := clip(strings.Repeat("é", maxQuote)); got != strings.Repeat("é", maxQuote/2)+"…" {
		t.Errorf("got %q", got)
	}
	if got := clip("x" + strings.Repeat("é", maxQuote)); strings.ContainsRune(got, '\uFFFD') {
		t.Errorf("got %q", got)
	}
	if got := clip("short \r\n"); got != "short" {
		t.Errorf("got %q", got)
	}
}

func TestSilentProcessIsQuotedFromTheAction(t *testing.T) {
	o := healthy(trialProcess(server3(exit(1, 2))))
	o.Trial.Action.Output = "starting etcd3\n{\"level\":\"fatal\",\"msg\":\"no\"}\n"
	e := Judge(o).Findings[0].Evidence
	want := []model.Evidence{
		{Source: "exit", Text: "pid 950 ended with exit status 1 at 0s: /usr/bin/etcd --name etcd3"},
		{Source: "action output", Text: `{"level":"fatal","msg":"no"}`},
	}
	if len(e) != 2 || e[0] != want[0] || e[1] != want[1] {
		t.Errorf("got %+v", e)
	}
}
