//go:build linux

package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/probe"
	"github.com/pilotexec/pilot/internal/testcluster"
	"github.com/pilotexec/pilot/internal/testenv"
)

// A broker is a Kafka of one node, which is its own controller.
type broker struct {
	dir, jars, conf, data, client string
	java, pilot                   string
	cmd                           *exec.Cmd
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// newBroker starts a broker with 100 records in two partitions.
func newBroker(t *testing.T, dir string) *broker {
	t.Helper()
	java, err := exec.LookPath("java")
	if err != nil {
		t.Fatal(err)
	}
	bin, err := testcluster.Build(t.Context(), testcluster.Kafka)
	if err != nil {
		t.Fatal(err)
	}
	b := &broker{dir: dir, jars: bin.KafkaLib + "/*", conf: filepath.Join(dir, "server.properties"), data: filepath.Join(dir, "data"), java: java, pilot: pilotBinary(t)}
	b.client = freeAddr(t)
	controller := freeAddr(t)
	conf := fmt.Sprintf(`process.roles=broker,controller
node.id=1
controller.quorum.voters=1@%s
listeners=PLAINTEXT://%s,CONTROLLER://%s
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=%s
`, controller, b.client, controller, b.data)
	if err := os.WriteFile(b.conf, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "sh", "-c", b.format()).CombinedOutput(); err != nil {
		t.Fatalf("format: %v\n%s", err, out)
	}
	log, err := os.Create(filepath.Join(dir, "kafka.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	b.cmd = exec.Command(b.args()[0], b.args()[1:]...)
	b.cmd.Dir, b.cmd.Stdout, b.cmd.Stderr = dir, log, log
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = b.cmd.Process.Signal(syscall.SIGKILL)
		_ = b.cmd.Wait() // killed
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		err := exec.CommandContext(t.Context(), b.pilot, "probe", "kafka", b.client).Run()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the broker does not answer: %v", err)
		}
	}
	produce := exec.CommandContext(t.Context(), java, "-XX:-UsePerfData", "-cp", b.jars, "../../systems/kafka/Produce.java", b.client)
	if out, err := produce.CombinedOutput(); err != nil {
		t.Fatalf("produce: %v\n%s", err, out)
	}
	return b
}

func (b *broker) args() []string {
	return []string{b.java, "-Xmx256m", "-XX:-UsePerfData", "-cp", b.jars, "kafka.Kafka", b.conf}
}

// format is the shell line that makes an empty data directory.
func (b *broker) format() string {
	return fmt.Sprintf("%s -XX:-UsePerfData -cp '%s' kafka.tools.StorageTool format -t AAAAAAAAAAAAAAAAAAAAAQ -c %s", b.java, b.jars, b.conf)
}

// restart is a script that starts the broker again after lines of its own.
func (b *broker) restart(lines ...string) string {
	pid := b.cmd.Process.Pid
	return fmt.Sprintf(`kill -9 %d
while grep -qs '^State:.[^ZX]' /proc/%d/status; do sleep 0.1; done
%s
setsid sh -c 'for i in 1 2 3 4 5; do "$@"; sleep 1; done' - '%s' </dev/null >>%s/kafka.log 2>&1 &
for i in $(seq 60); do %s probe kafka %s && break; sleep 0.5; done
`, pid, pid, strings.Join(lines, "\n"), strings.Join(b.args(), "' '"), b.dir, b.pilot, b.client)
}

// TestPrivRecordsKafka is as testRecords: the broker comes back, first with what
// it had, then on a disk that was formatted.
func TestPrivRecordsKafka(t *testing.T) {
	testenv.Privileged(t)
	dir := publicDir(t)
	b := newBroker(t, dir)
	if lines, err := probe.Ask(t.Context(), "kafka", []string{b.client}, "roles"); err != nil || !slices.Equal(lines, []string{b.client + " knows broker 1 at " + b.client}) {
		t.Errorf("roles: got %q, %v", lines, err)
	}
	pids := []int{b.cmd.Process.Pid}
	keep := pilotAction(t, dir, os.Environ(), "kafka", pids, b.restart())
	if keep.Verdict.Status != model.Pass {
		t.Errorf("a good recovery: %s: %s\n%+v", keep.Verdict.Status, keep.Verdict.Reason, keep.Verdict.Findings)
	}
	lose := pilotAction(t, dir, os.Environ(), "kafka", pids, b.restart("rm -rf "+b.data+"/*", b.format()))
	lost := map[string]bool{}
	for _, f := range lose.Verdict.Findings {
		if f.Rule == "records-lost" && f.Severity == model.Error {
			lost[f.Message] = true
		}
	}
	for _, want := range []string{"kafka partition orders-0: end offset went back from 50 to 0", "kafka partition orders-1: end offset went back from 50 to 0"} {
		if !lost[want] {
			t.Errorf("not seen: %s\n%s %s %+v", want, lose.Verdict.Status, lose.Verdict.Reason, lost)
		}
	}
}
