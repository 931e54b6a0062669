package preset

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

// etcd: flags, or a file of YAML with the same names. See etcd: server/embed/config.go.
func etcd(p process) Node {
	file := properties(p.config(p.flag("config-file")), ":")
	get := func(name string) string { return first(p.flag(name), file[name]) }
	n := Node{Name: first(get("name"), "default")}
	data := p.abs(first(get("data-dir"), n.Name+".etcd"))
	n.Data = []string{data}
	if wal := get("wal-dir"); wal != "" {
		n.Data = append(n.Data, p.abs(wal))
	}
	url, _, _ := strings.Cut(first(get("listen-client-urls"), "http://127.0.0.1:2379"), ",")
	scheme, addr, _ := strings.Cut(url, "://")
	if n.Client = hostPort(addr, "2379"); scheme == "https" {
		n.Client, n.Note = "", "it serves TLS only, which pilot cannot ask: give checks of your own"
	}
	n.Down = map[string]string{}
	for part := range strings.SplitSeq(get("initial-cluster"), ",") {
		name, _, ok := strings.Cut(part, "=")
		// Data directories are told apart by the name, or nothing is known.
		if base := path.Base(data); ok && name != n.Name && strings.Contains(base, n.Name) {
			n.Down[name] = path.Join(path.Dir(data), strings.Replace(base, n.Name, name, 1))
		}
	}
	return n
}

// hostPort completes an address.
func hostPort(addr, port string) string {
	addr, _, _ = strings.Cut(addr, "/")
	host, p := splitAddr(addr)
	return joinAddr(host, first(p, port))
}

// splitAddr parts a host and a port, either of which may be missing. An IPv6
// address has brackets.
func splitAddr(addr string) (host, port string) {
	at := strings.LastIndexByte(addr, ':')
	if at < 0 || at < strings.IndexByte(addr, ']') {
		return strings.Trim(addr, "[]"), ""
	}
	return strings.Trim(addr[:at], "[]"), addr[at+1:]
}

func joinAddr(host, port string) string {
	if host = loopback(host); strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + port
}

// redisTitle is what a server writes over its arguments. See Redis: src/server.c
// (redisSetProcTitle).
var redisTitle = regexp.MustCompile(`^\S*(?:redis|valkey)-server\s+(\S+):(\d+)`)

// redis: a file first, then flags like its lines. The server's working directory
// is its data directory.
func redis(p process) Node {
	var n Node
	if p.dir != "" {
		n.Data = []string{p.dir}
	}
	if t := redisTitle.FindStringSubmatch(strings.Join(p.args, " ")); t != nil {
		n.Client = joinAddr(t[1], t[2])
		n.Name = "redis-" + t[2]
		return n
	}
	file := properties(p.config(p.last(".conf")), " ")
	port := first(p.flag("port"), file["port"], "6379")
	host, _, _ := strings.Cut(first(p.flag("bind"), file["bind"]), " ")
	n.Client, n.Name = joinAddr(strings.TrimPrefix(host, "-"), port), "redis-"+port
	if port == "0" {
		n.Client, n.Note = "", "it serves TLS or a unix socket only, which pilot cannot ask: give checks of your own"
	}
	return n
}

// zookeeper: its only argument is a file, which names the directory where myid
// says who it is. See the ZooKeeper Administrator's Guide.
func zookeeper(p process) Node {
	file := properties(p.config(p.last(".cfg", ".conf", ".properties")), "=")
	var n Node
	for _, key := range []string{"dataDir", "dataLogDir"} {
		if file[key] != "" {
			n.Data = append(n.Data, p.abs(file[key]))
		}
	}
	if id := strings.TrimSpace(p.config(path.Join(p.abs(first(file["dataDir"], "/nowhere")), "myid"))); id != "" {
		n.Name = "zk" + id
	}
	port := file["clientPort"]
	// Servers that can be reconfigured have it in the list of servers, behind ;.
	if port == "" {
		if _, client, ok := strings.Cut(file["server."+strings.TrimPrefix(n.Name, "zk")], ";"); ok {
			port = client[strings.LastIndexByte(client, ':')+1:]
		}
	}
	if port != "" {
		n.Client = joinAddr(file["clientPortAddress"], port)
	}
	return n
}

// natsKey finds a value of a configuration of NATS, which is written with colons,
// equal signs or spaces.
func natsKey(text string, names ...string) string {
	for _, name := range names {
		re := regexp.MustCompile(`(?m)(?:^|[\s{,;])"?` + name + `"?\s*[:=\s]\s*(?:"([^"\n]*)"|'([^'\n]*)'|([^\s"'{},;\[\]]+))`)
		if m := re.FindStringSubmatch(text); m != nil {
			return first(m[1], m[2], m[3])
		}
	}
	return ""
}

// nats: flags before the file. See https://docs.nats.io/running-a-nats-service/configuration.
func nats(p process) Node {
	file := p.config(p.flag("c", "config"))
	// What is in the block of the cluster is not the server's own.
	if at := regexp.MustCompile(`(?m)^\s*(cluster|leafnodes|gateway)\s*[:=]?\s*\{`).FindStringIndex(file); at != nil {
		file = cutBlock(file, at[0], at[1])
	}
	n := Node{Name: first(p.flag("n", "name", "server_name"), natsKey(file, "server_name"))}
	if dir := first(p.flag("sd", "store_dir"), natsKey(file, "store_dir", "storedir")); dir != "" {
		n.Data = []string{p.abs(dir)}
	}
	listen := first(natsKey(file, "listen"), natsKey(file, "host", "net"))
	port := first(p.flag("p", "port"), natsKey(file, "port"), "4222")
	if n.Client = hostPort(listen, port); p.flag("p", "port") != "" {
		host, _ := splitAddr(n.Client)
		n.Client = joinAddr(host, port)
	}
	if monitor := first(p.flag("m", "http_port"), natsKey(file, "http_port", "monitor_port"), natsKey(file, "http")); monitor != "" {
		if !strings.Contains(monitor, ":") {
			monitor = ":" + monitor
		}
		n.Monitor = hostPort(monitor, "8222")
	}
	return n
}

// cutBlock removes a block in braces that begins between two offsets.
func cutBlock(text string, from, open int) string {
	depth := 1
	for i := open; i < len(text); i++ {
		switch text[i] {
		case '{':
			depth++
		case '}':
			depth--
		}
		if depth == 0 {
			return text[:from] + text[i+1:]
		}
	}
	return text[:from]
}

// kafka: its first argument is a file of properties. See
// https://kafka.apache.org/documentation/#brokerconfigs.
func kafka(p process) Node {
	file := properties(p.config(p.last(".properties")), "=")
	var n Node
	if id := first(file["node.id"], file["broker.id"]); id != "" {
		n.Name = "kafka" + id
	}
	for _, key := range []string{"log.dirs", "metadata.log.dir"} {
		for dir := range strings.SplitSeq(first(file[key], map[string]string{"log.dirs": first(file["log.dir"], "/tmp/kafka-logs")}[key]), ",") {
			if dir = strings.TrimSpace(dir); dir != "" {
				n.Data = append(n.Data, p.abs(dir))
			}
		}
	}
	secured := properties(strings.ReplaceAll(file["listener.security.protocol.map"], ",", "\n"), ":")
	controllers := "," + file["controller.listener.names"] + ","
	for listener := range strings.SplitSeq(first(file["listeners"], "PLAINTEXT://:9092"), ",") {
		name, addr, _ := strings.Cut(strings.TrimSpace(listener), "://")
		if strings.Contains(controllers, ","+name+",") {
			continue
		}
		if protocol := first(secured[name], name); protocol != "PLAINTEXT" && protocol != "SASL_PLAINTEXT" {
			n.Note = fmt.Sprintf("its listener %s needs TLS, which pilot cannot speak", name)
			continue
		}
		n.Client, n.Note = hostPort(addr, "9092"), ""
		break
	}
	return n
}
