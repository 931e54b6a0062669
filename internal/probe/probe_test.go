package probe

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// server answers each connection with reply, and returns its address.
func server(t *testing.T, reply func(conn net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			reply(conn)
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// gone is an address where nobody listens.
func gone(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func ask(t *testing.T, system, verb string, addrs ...string) (string, error) {
	t.Helper()
	a, err := Ask(t.Context(), system, addrs, verb)
	return strings.Join(a, "\n"), err
}

func TestZooKeeper(t *testing.T) {
	answers := map[string]string{
		"srvr": "Zookeeper version: 3.9\nZxid: 0x10\nMode: leader\nNode count: 9\n",
		"mntr": "zk_version\t3.9\nzk_znode_count\t9\nzk_ephemerals_count\t2\n",
	}
	zk := func(answers map[string]string) string {
		return server(t, func(conn net.Conn) {
			word := make([]byte, 4)
			if _, err := io.ReadFull(conn, word); err == nil {
				fmt.Fprint(conn, answers[string(word)])
			}
		})
	}
	addr := zk(answers)
	if got, err := ask(t, "zookeeper", "", addr); err != nil || got != addr+" leader" {
		t.Errorf("%q %v", got, err)
	}
	if got, err := ask(t, "zookeeper", "numbers", addr, gone(t)); err != nil || got != "lasting znodes 7\n~ephemeral znodes 2" {
		t.Errorf("%q %v", got, err)
	}
	shy := zk(map[string]string{"srvr": answers["srvr"], "mntr": "mntr is not executed because it is not in the whitelist.\n"})
	if got, err := ask(t, "zookeeper", "numbers", shy); err != nil || got != "~znodes 9" {
		t.Errorf("%q %v", got, err)
	}
	sick := zk(map[string]string{"srvr": "This ZooKeeper instance is not currently serving requests\n"})
	if _, err := ask(t, "zookeeper", "health", addr, sick); err == nil || !strings.Contains(err.Error(), "not currently serving") {
		t.Error(err)
	}
}

// redisWith speaks enough of Redis for INFO and AUTH.
func redisWith(t *testing.T, info string) string {
	return server(t, func(conn net.Conn) {
		r := bufio.NewReader(conn)
		for {
			line, err := lineOf(r)
			if err != nil {
				return
			}
			switch line {
			case "AUTH":
				fmt.Fprint(conn, "+OK\r\n")
			case "INFO":
				fmt.Fprintf(conn, "$%d\r\n%s\r\n", len(info), info)
			}
		}
	})
}

func TestRedis(t *testing.T) {
	a := redisWith(t, "# Server\r\nrole:master\r\nloading:0\r\ndb0:keys=5,expires=1,avg_ttl=0\r\ndb3:keys=2,expires=0,avg_ttl=0\r\n")
	b := redisWith(t, "role:master\r\ndb0:keys=10,expires=0\r\n")
	replica := redisWith(t, "role:slave\r\nmaster_link_status:up\r\ndb0:keys=5,expires=1\r\n")
	down := redisWith(t, "role:slave\r\nmaster_link_status:down\r\n")
	loading := redisWith(t, "role:master\r\nloading:1\r\n")
	if got, err := ask(t, "redis", "numbers", a, b, replica); err != nil || got != "keys 17\n~masters 2\n~replicas 1" {
		t.Errorf("%q %v", got, err)
	}
	if got, err := ask(t, "redis", "health", a, replica); err != nil || got != a+" master\n"+replica+" slave" {
		t.Errorf("%q %v", got, err)
	}
	for _, bad := range []string{down, loading, gone(t)} {
		if got, err := ask(t, "redis", "health", a, bad); err == nil || got != a+" master" {
			t.Errorf("%q %v", got, err)
		}
	}
	if _, err := ask(t, "redis", "numbers", gone(t), gone(t)); err == nil {
		t.Error("nobody answers")
	}
	t.Setenv("REDISCLI_AUTH", "secret")
	if got, err := ask(t, "redis", "health", a); err != nil || got != a+" master" {
		t.Errorf("%q %v", got, err)
	}
}

func web(t *testing.T, pages map[string]string) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page, ok := pages[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
		}
		fmt.Fprint(w, page)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestEtcd(t *testing.T) {
	members := `{"members":[{"ID":"1","name":"e1"},{"ID":"2","name":"e2"}]}`
	old := web(t, map[string]string{"/health": `{"health":"true"}`, "/v3/kv/range": `{"header":{"revision":"7"},"count":"5"}`, "/v3/cluster/member/list": members})
	young := web(t, map[string]string{"/health": `{"health":"false","reason":"no leader"}`, "/v3/kv/range": `{"header":{"revision":"1"}}`, "/v3/cluster/member/list": members})
	if got, err := ask(t, "etcd", "numbers", young, old, gone(t)); err != nil || got != "keys 5\nrevision 7\n~members 2" {
		t.Errorf("%q %v", got, err)
	}
	if got, err := ask(t, "etcd", "members", gone(t), old); err != nil || got != "member e1 1\nmember e2 2" {
		t.Errorf("%q %v", got, err)
	}
	if got, err := ask(t, "etcd", "health", old); err != nil || got != old+" healthy" {
		t.Errorf("%q %v", got, err)
	}
	if _, err := ask(t, "etcd", "health", old, young); err == nil || !strings.Contains(err.Error(), "no leader") {
		t.Error(err)
	}
}

func TestNATS(t *testing.T) {
	monitor := web(t, map[string]string{"/healthz": `{"status":"ok"}`,
		"/jsz": `{"account_details":[{"name":"$G","stream_detail":[{"name":"orders","state":{"messages":3,"last_seq":9}}]}]}`})
	if got, err := ask(t, "nats", "numbers", monitor); err != nil || got != "last sequence of $G/orders 9\nstreams 1\n~messages of $G/orders 3" {
		t.Errorf("%q %v", got, err)
	}
	client := server(t, func(conn net.Conn) { fmt.Fprint(conn, "INFO {}\r\n"); _, _ = conn.Read(make([]byte, 100)) })
	if got, err := ask(t, "nats", "health", client, monitor); err != nil || !strings.Contains(got, client+" greets") {
		t.Errorf("%q %v", got, err)
	}
	sick := web(t, map[string]string{})
	if _, err := ask(t, "nats", "health", sick); err == nil {
		t.Error("status 404 is no health")
	}
}

func TestKafka(t *testing.T) {
	reply := func(head string) string {
		return server(t, func(conn net.Conn) {
			if _, err := conn.Read(make([]byte, 100)); err == nil {
				fmt.Fprint(conn, head)
			}
		})
	}
	good := reply("\x00\x00\x00\x0a\x00\x00\x00\x07\x00\x00\x00\x00\x00\x01")
	if got, err := ask(t, "kafka", "", good); err != nil || got != good+" answers" {
		t.Errorf("%q %v", got, err)
	}
	for _, head := range []string{"", "HTTP/1.1 400 Bad", "\x00\x00\x00\x0a\x00\x00\x00\x07\x00\x23\x00\x00\x00\x01"} {
		if _, err := ask(t, "kafka", "", reply(head)); err == nil {
			t.Errorf("%q is taken for an answer", head)
		}
	}
}

func TestPlain(t *testing.T) {
	page := web(t, map[string]string{"/ok": "yes"})
	if got, err := ask(t, "http", "", "http://"+page+"/ok"); err != nil || !strings.HasSuffix(got, "answers") {
		t.Errorf("%q %v", got, err)
	}
	if _, err := ask(t, "http", "", page+"/missing"); err == nil {
		t.Error("404 is taken for an answer")
	}
	if got, err := ask(t, "tcp", "", page); err != nil || got != page+" accepts" {
		t.Errorf("%q %v", got, err)
	}
	for _, c := range [][]string{{"tcp", "numbers", page}, {"ftp", "", page}, {"etcd", "health"}} {
		if _, err := ask(t, c[0], c[1], c[2:]...); err == nil {
			t.Errorf("%q is no question", c)
		}
	}
	for _, s := range Systems {
		if len(s.Verbs) == 0 || s.ask == nil {
			t.Errorf("%+v", s)
		}
	}
}

func TestRoles(t *testing.T) {
	members := `{"members":[{"ID":"1","name":"e1"},{"ID":"2","name":"e2","isLearner":true}]}`
	e := web(t, map[string]string{"/v3/maintenance/status": `{"leader":"1","raftTerm":"9"}`, "/v3/cluster/member/list": members})
	lost := web(t, map[string]string{"/v3/maintenance/status": `{"leader":"0"}`, "/v3/cluster/member/list": members})
	master := redisWith(t, "role:master\r\nconnected_slaves:2\r\n")
	replica := redisWith(t, "role:slave\r\nmaster_host:h\r\nmaster_port:6379\r\n")
	zk := server(t, func(conn net.Conn) {
		if _, err := io.ReadFull(conn, make([]byte, 4)); err == nil {
			fmt.Fprint(conn, "Zookeeper version: 3.9\nMode: follower\n")
		}
	})
	nats := web(t, map[string]string{"/routez": `{"routes":[{"remote_id":"A"},{"remote_id":"A"},{"remote_id":"B"}]}`, "/jsz": `{"meta_cluster":{"leader":"n1","cluster_size":3}}`})
	alone := web(t, map[string]string{"/routez": `{}`, "/jsz": `{}`})
	kafka := server(t, func(conn net.Conn) {
		head := make([]byte, 4+8+2+5+4)
		if _, err := io.ReadFull(conn, head); err != nil || string(head[14:19]) != "pilot" || head[5] != 3 || head[7] != 1 {
			return
		}
		body := "\x00\x00\x00\x07" + "\x00\x00\x00\x02" +
			"\x00\x00\x00\x01" + "\x00\x02h1" + "\x00\x00\x23\x84" + "\xff\xff" +
			"\x00\x00\x00\x02" + "\x00\x02h2" + "\x00\x00\x23\x85" + "\x00\x01r" + "rest"
		fmt.Fprintf(conn, "\x00\x00\x00%c%s", len(body), body)
	})
	away := gone(t)
	for _, c := range []struct {
		system string
		addrs  []string
		want   string
	}{
		{"etcd", []string{e}, e + " leader e1 1\nlearner e2 2\nmember e1 1"},
		{"etcd", []string{lost}, lost + " leader none\nlearner e2 2\nmember e1 1"},
		{"redis", []string{master}, master + " master of 2 replicas"},
		{"redis", []string{replica}, replica + " replica of h:6379"},
		{"zookeeper", []string{zk}, zk + " follower"},
		{"nats", []string{nats}, nats + " leader n1 of 3\n" + nats + " routes to 2 servers"},
		{"nats", []string{alone}, alone + " routes to 0 servers"},
		{"kafka", []string{kafka}, kafka + " knows broker 1 at h1:9092\n" + kafka + " knows broker 2 at h2:9093"},
	} {
		if got, err := ask(t, c.system, "roles", c.addrs...); err != nil || got != c.want {
			t.Errorf("%s: got %q, %v, want %q", c.system, got, err, c.want)
		}
		// One that is away is a part of the answer, all of them are none.
		if got, err := ask(t, c.system, "roles", append(c.addrs, away)...); err != nil || !strings.Contains(got, away+" does not answer") {
			t.Errorf("%s: got %q, %v", c.system, got, err)
		}
		if _, err := ask(t, c.system, "roles", away); err == nil {
			t.Errorf("%s: nobody answers", c.system)
		}
	}
}
