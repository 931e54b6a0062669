package preset

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
)

func TestDescribe(t *testing.T) {
	files := map[string]string{
		"/etc/etcd.yml":     "name: e1\ndata-dir: /var/lib/etcd/e1\nlisten-client-urls: https://10.0.0.1:2379\n",
		"/etc/redis.conf":   "# comment\nport 7000\nbind 10.0.0.1 127.0.0.1\n",
		"/z/zoo.cfg":        "dataDir=/z/data\ndataLogDir=/z/log\nclientPort=2182\nserver.3=h:1:2\n",
		"/z/data/myid":      "3\n",
		"/z/new.cfg":        "dataDir=/z/data\nserver.3=h:1:2:participant;0.0.0.0:2183\n",
		"/n/nats.conf":      "server_name: \"n1\"\nlisten: \"127.0.0.1:4333\"\nhttp: \"127.0.0.1:8333\"\njetstream { store_dir: \"/n/data\", max_mem: 1 }\ncluster { name: \"pilot\", listen: \"127.0.0.1:9\", routes: [ a ] }\n",
		"/n/ports.conf":     "port = 4334\nmonitor_port = 8334\njetstream {\n  store_dir = js\n}\n",
		"/k/s.properties":   "node.id=4\nlog.dirs=/k/a, /k/b\nlisteners=CONTROLLER://:9093,SSL://:9094,PLAINTEXT://:9095\ncontroller.listener.names=CONTROLLER\n",
		"/k/tls.properties": "broker.id=5\nlog.dir=/k/c\nlisteners=EXTERNAL://h:9094\nlistener.security.protocol.map=EXTERNAL:SSL,PLAINTEXT:PLAINTEXT\n",
	}
	read := func(path string) ([]byte, error) {
		if text, ok := files[path]; ok {
			return []byte(text), nil
		}
		return nil, errors.New("no such file")
	}
	none := map[string]string{}
	for _, c := range []struct {
		preset, exe, args string
		want              Node
	}{
		{"etcd", "/usr/bin/etcd", "etcd --name e1 --data-dir=/d/e1.etcd --listen-client-urls http://0.0.0.0:2379,http://[::1]:2379 --initial-cluster e1=http://a,e2=http://b",
			Node{Name: "e1", Data: []string{"/d/e1.etcd"}, Client: "127.0.0.1:2379", Down: map[string]string{"e2": "/d/e2.etcd"}}},
		{"etcd", "/usr/bin/etcd", "etcd", Node{Name: "default", Data: []string{"/cwd/default.etcd"}, Client: "127.0.0.1:2379", Down: none}},
		{"etcd", "/usr/bin/etcd", "etcd --name=x --data-dir /data --initial-cluster x=http://a,y=http://b --listen-client-urls http://[::1]:4001",
			Node{Name: "x", Data: []string{"/data"}, Client: "[::1]:4001", Down: none}},
		{"etcd", "/usr/bin/etcd", "etcd --config-file /etc/etcd.yml", Node{Name: "e1", Data: []string{"/var/lib/etcd/e1"}, Down: none,
			Note: "it serves TLS only, which pilot cannot ask: give checks of your own"}},
		{"redis", "/usr/bin/redis-check-rdb", "/usr/bin/redis-server 127.0.0.1:6400", Node{Name: "redis-6400", Data: []string{"/cwd"}, Client: "127.0.0.1:6400"}},
		{"redis", "/usr/bin/redis-server", "redis-server *:6379 [cluster]", Node{Name: "redis-6379", Data: []string{"/cwd"}, Client: "127.0.0.1:6379"}},
		{"redis", "/usr/bin/valkey-server", "valkey-server /etc/redis.conf", Node{Name: "redis-7000", Data: []string{"/cwd"}, Client: "10.0.0.1:7000"}},
		{"redis", "/usr/bin/redis-server", "redis-server --port 0", Node{Name: "redis-0", Data: []string{"/cwd"},
			Note: "it serves TLS or a unix socket only, which pilot cannot ask: give checks of your own"}},
		{"zookeeper", "/usr/bin/java", "java -cp x org.apache.zookeeper.server.quorum.QuorumPeerMain /z/zoo.cfg",
			Node{Name: "zk3", Data: []string{"/z/data", "/z/log"}, Client: "127.0.0.1:2182"}},
		{"zookeeper", "/usr/bin/java", "java org.apache.zookeeper.server.quorum.QuorumPeerMain /z/new.cfg",
			Node{Name: "zk3", Data: []string{"/z/data"}, Client: "127.0.0.1:2183"}},
		{"zookeeper", "/usr/bin/java", "java org.apache.zookeeper.server.ZooKeeperServerMain /z/gone.cfg", Node{}},
		{"nats", "/bin/nats-server", "nats-server -c /n/nats.conf", Node{Name: "n1", Data: []string{"/n/data"}, Client: "127.0.0.1:4333", Monitor: "127.0.0.1:8333"}},
		{"nats", "/bin/nats-server", "nats-server -c /n/ports.conf -n n2", Node{Name: "n2", Data: []string{"/cwd/js"}, Client: "127.0.0.1:4334", Monitor: "127.0.0.1:8334"}},
		{"nats", "/bin/nats-server", "nats-server -js -sd /js -p 5000 -m 8000", Node{Data: []string{"/js"}, Client: "127.0.0.1:5000", Monitor: "127.0.0.1:8000"}},
		{"kafka", "/usr/bin/java", "java kafka.Kafka /k/s.properties", Node{Name: "kafka4", Data: []string{"/k/a", "/k/b"}, Client: "127.0.0.1:9095",
			Note: ""}},
		{"kafka", "/usr/bin/java", "java kafka.Kafka /k/tls.properties", Node{Name: "kafka5", Data: []string{"/k/c"}, Note: "its listener EXTERNAL needs TLS, which pilot cannot speak"}},
	} {
		m := model.Member{PID: 1, Exe: c.exe, Args: strings.Fields(c.args), Dir: "/cwd"}
		p, ok := Of(m)
		if !ok || p.Name != c.preset {
			t.Errorf("%s: of %q", c.args, p.Name)
			continue
		}
		if got := p.Describe(m, read); !reflect.DeepEqual(got, c.want) && !(len(got.Down) == 0 && len(c.want.Down) == 0 && equalBut(got, c.want)) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", c.args, got, c.want)
		}
	}
}

// equalBut compares without Down.
func equalBut(a, b Node) bool {
	a.Down, b.Down = nil, nil
	if len(a.Data)+len(b.Data) == 0 {
		a.Data, b.Data = nil, nil
	}
	return reflect.DeepEqual(a, b)
}

func TestOf(t *testing.T) {
	for _, m := range []model.Member{
		{PID: 1, Exe: "/usr/bin/etcdctl", Args: []string{"etcdctl"}},
		{PID: 1, Exe: "/usr/bin/java", Args: []string{"java", "-cp", "kafka.Kafka.jar", "Main"}},
		{PID: 1, Exe: "/usr/bin/vi", Args: []string{"vi", "etcd"}},
		{Exe: "/usr/bin/etcd"},
	} {
		if p, ok := Of(m); ok {
			t.Errorf("%+v is taken for %s", m, p.Name)
		}
	}
}

func TestTable(t *testing.T) {
	for _, p := range Presets {
		if found, ok := Find(p.Name); !ok || found.Name != p.Name || len(p.Programs)+len(p.Classes) == 0 || len(p.Checks) == 0 {
			t.Errorf("%+v", p)
		}
	}
	if _, ok := Find(Auto); ok {
		t.Error("auto is no preset of its own")
	}
}

// FuzzDescribe reads configurations that may be anything.
func FuzzDescribe(f *testing.F) {
	f.Add("etcd --name a --initial-cluster a=b,c=d --data-dir a", "name: b")
	f.Add("redis-server [::1]:6379", "")
	f.Add("java kafka.Kafka x.properties", "listeners=A://[::1]:x,B://")
	f.Add("nats-server -c x", "cluster {\n http: 1")
	f.Fuzz(func(t *testing.T, args, file string) {
		read := func(string) ([]byte, error) { return []byte(file), nil }
		for _, p := range Presets {
			n := p.Describe(model.Member{PID: 1, Args: strings.Fields(args), Dir: "/d"}, read)
			for _, d := range n.Data {
				if d == "/" || !strings.HasPrefix(d, "/") {
					t.Errorf("data %q", d)
				}
			}
		}
	})
}
