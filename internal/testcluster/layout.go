//go:build linux

package testcluster

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func (c *Cluster) layOutEtcd() error {
	var initial []string
	for _, m := range c.Members {
		initial = append(initial, m.Name+"=http://"+m.Peer)
	}
	for _, m := range c.Members {
		m.Monitor = ""
		m.Args = []string{c.bin.Etcd,
			"--name", m.Name,
			"--data-dir", m.Data,
			"--listen-client-urls", "http://" + m.Client,
			"--advertise-client-urls", "http://" + m.Client,
			"--listen-peer-urls", "http://" + m.Peer,
			"--initial-advertise-peer-urls", "http://" + m.Peer,
			"--initial-cluster", strings.Join(initial, ","),
			"--initial-cluster-token", "pilot",
			"--initial-cluster-state", "new",
		}
	}
	return nil
}

func (c *Cluster) layOutNATS() error {
	var routes []string
	for _, m := range c.Members {
		routes = append(routes, "nats://"+m.Peer)
	}
	for _, m := range c.Members {
		conf := filepath.Join(c.Dir, m.Name+".conf")
		text := fmt.Sprintf(`server_name: %q
listen: %q
http: %q
jetstream { store_dir: %q, max_memory_store: 64MB, max_file_store: 1GB }
cluster { name: "pilot", listen: %q, routes: [ %s ] }
`, m.Name, m.Client, m.Monitor, m.Data, m.Peer, strings.Join(routes, ", "))
		if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
			return err
		}
		m.Args = []string{c.bin.NATS, "-c", conf}
	}
	return nil
}

// zkLogback logs to stdout. Without a configuration logback logs everything.
const zkLogback = `<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{ISO8601} [%t] %-5p %c{1} - %m%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="OUT"/></root>
</configuration>
`

func (c *Cluster) layOutZooKeeper() error {
	logback := filepath.Join(c.Dir, "logback.xml")
	if err := os.WriteFile(logback, []byte(zkLogback), 0o644); err != nil {
		return err
	}
	var servers strings.Builder
	for i, m := range c.Members {
		// The third port serves the election.
		_, port, err := net.SplitHostPort(m.Monitor)
		if err != nil {
			return err
		}
		fmt.Fprintf(&servers, "server.%d=%s:%s\n", i+1, m.Peer, port)
	}
	for i, m := range c.Members {
		m.Monitor = ""
		host, port, err := net.SplitHostPort(m.Client)
		if err != nil {
			return err
		}
		conf := filepath.Join(c.Dir, m.Name+".cfg")
		text := fmt.Sprintf(`tickTime=2000
initLimit=10
syncLimit=5
dataDir=%s
clientPort=%s
clientPortAddress=%s
admin.enableServer=false
4lw.commands.whitelist=*
%s`, m.Data, port, host, &servers)
		if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(m.Data, "myid"), fmt.Appendln(nil, i+1), 0o644); err != nil {
			return err
		}
		m.Args = []string{c.bin.Java,
			"-Xmx512m",
			"-Dlogback.configurationFile=" + logback,
			"-cp", filepath.Join(c.bin.ZooKeeperLib, "*"),
			"org.apache.zookeeper.server.quorum.QuorumPeerMain", conf,
		}
	}
	return nil
}

// layOutRedis makes the first member the master of all others.
func (c *Cluster) layOutRedis() error {
	for i, m := range c.Members {
		m.Peer, m.Monitor = "", ""
		host, port, err := net.SplitHostPort(m.Client)
		if err != nil {
			return err
		}
		conf := filepath.Join(c.Dir, m.Name+".conf")
		text := fmt.Sprintf(`bind %s
port %s
dir %q
appendonly yes
appendfsync everysec
save ""
repl-diskless-sync-delay 0
`, host, port, m.Data)
		if i > 0 {
			text += "replicaof " + strings.Replace(c.Members[0].Client, ":", " ", 1) + "\n"
		}
		if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
			return err
		}
		m.Args = []string{c.bin.Redis, conf}
		if c.bin.RedisLib != "" {
			m.Env = append(slices.Clone(m.Env), "LD_LIBRARY_PATH="+c.bin.RedisLib)
		}
	}
	return nil
}

// kafkaLog4j logs to stdout as Kafka's own configuration does.
const kafkaLog4j = `log4j.rootLogger=INFO, OUT
log4j.appender.OUT=org.apache.log4j.ConsoleAppender
log4j.appender.OUT.layout=org.apache.log4j.PatternLayout
log4j.appender.OUT.layout.ConversionPattern=[%d] %p %m (%c)%n
`

// layOutKafka formats the data directories as kafka-storage.sh would: a JVM for
// each takes seconds. The log cleaner's buffer of 128 MiB at once does not always fit
// into the heap, and the second compiler of Java would take two processors for half a minute.
func (c *Cluster) layOutKafka() error {
	log4j := filepath.Join(c.Dir, "log4j.properties")
	if err := os.WriteFile(log4j, []byte(kafkaLog4j), 0o644); err != nil {
		return err
	}
	var voters []string
	for i, m := range c.Members {
		voters = append(voters, fmt.Sprintf("%d@%s", i+1, m.Peer))
	}
	for i, m := range c.Members {
		m.Monitor = ""
		conf := filepath.Join(c.Dir, m.Name+".properties")
		text := fmt.Sprintf(`process.roles=broker,controller
node.id=%d
controller.quorum.voters=%s
listeners=PLAINTEXT://%s,CONTROLLER://%s
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=%s
connections.max.idle.ms=3600000
auto.leader.rebalance.enable=false
log.cleaner.dedupe.buffer.size=16777216
`, i+1, strings.Join(voters, ","), m.Client, m.Peer, m.Data)
		if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
			return err
		}
		meta := fmt.Sprintf("version=1\ncluster.id=cGlsb3QtdGVzdC1jbHVzdA\nnode.id=%d\n", i+1)
		if err := os.WriteFile(filepath.Join(m.Data, "meta.properties"), []byte(meta), 0o644); err != nil {
			return err
		}
		m.Args = []string{c.bin.Java,
			"-Xmx256m", "-XX:-UsePerfData", "-XX:TieredStopAtLevel=1",
			"-Dlog4j.configuration=file:" + log4j,
			"-cp", filepath.Join(c.bin.KafkaLib, "*"),
			"kafka.Kafka", conf,
		}
	}
	return nil
}
