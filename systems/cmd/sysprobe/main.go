// Command sysprobe is one client for every system that pilot is tested with.
//
//	sysprobe SYSTEM VERB [flags]
//
// SYSTEM is etcd, nats, zk, redis or kafka. The verbs mean the same for all of them:
//
//	status  print one JSON object: who leads, in which term, what is stored
//	health  exit 0 if every endpoint serves consistent requests
//	load    write and read back numbered entries until SIGTERM, then print JSON
//	verify  exit 0 if every write that a load recorded as acknowledged is stored, in order
//
// etcd also has member-list, member-remove NAME and member-add NAME PEERURL.
//
// It exits 0 on success, 1 if the system is not as asked, 64 on bad usage.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

const exitUsage = 64

// options are the flags; each verb uses those it needs.
type options struct {
	endpoints []string      // client addresses, HOST:PORT
	monitors  []string      // NATS: monitoring addresses, in the endpoints' order
	prefix    string        // where the entries of a load are stored
	record    string        // file of acknowledged writes
	stats     string        // file for what a load prints at its end
	rate      int           // writes per second, over all workers
	workers   int           // concurrent clients, spread over the endpoints
	timeout   time.Duration // for one request
	args      []string
}

// An opener connects to one endpoint.
type opener func(ctx context.Context, o *options, endpoint string) (store, error)

// A system is what sysprobe must know about a kind of cluster.
type system struct {
	// status asks every endpoint; what did not answer is in the result.
	status func(ctx context.Context, o *options) *status
	// health returns an error that names the first endpoint that does not serve.
	health func(ctx context.Context, o *options) error
	open   opener
	// verbs are the verbs that no other system has.
	verbs map[string]func(ctx context.Context, o *options) error
}

var systems = map[string]system{
	"etcd":  {etcdStatus, etcdHealth, openEtcd, etcdVerbs},
	"nats":  {natsStatus, natsHealth, openNATS, nil},
	"zk":    {zkStatus, zkHealth, openZK, nil},
	"redis": {redisStatus, redisHealth, openRedis, nil},
	"kafka": {kafkaStatus, kafkaHealth, openKafka, nil},
}

func main() {
	if len(os.Args) < 3 {
		usage("want SYSTEM and VERB")
	}
	sys, ok := systems[os.Args[1]]
	if !ok {
		usage("unknown system " + os.Args[1])
	}
	o, err := parse(os.Args[3:])
	if err != nil {
		usage(err.Error())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, sys, os.Args[2], o); err != nil {
		fmt.Fprintf(os.Stderr, "sysprobe: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, sys system, verb string, o *options) error {
	switch verb {
	case "status":
		return printJSON(sys.status(ctx, o))
	case "health":
		return sys.health(ctx, o)
	case "load":
		return runLoad(ctx, sys, o)
	case "verify":
		return verify(ctx, sys, o)
	}
	f, ok := sys.verbs[verb]
	if !ok {
		usage("unknown verb " + verb)
	}
	return f(ctx, o)
}

func parse(args []string) (*options, error) {
	o := &options{}
	var endpoints, monitors string
	fs := flag.NewFlagSet("sysprobe", flag.ContinueOnError)
	fs.StringVar(&endpoints, "endpoints", "", "client addresses, `HOST:PORT,...`")
	fs.StringVar(&monitors, "monitors", "", "NATS monitoring addresses, `HOST:PORT,...`")
	fs.StringVar(&o.prefix, "prefix", "load", "name under which a load stores its entries")
	fs.StringVar(&o.record, "record", "", "`FILE` to which each acknowledged write is appended")
	fs.StringVar(&o.stats, "stats", "", "`FILE` for the statistics of a load")
	fs.IntVar(&o.rate, "rate", 200, "writes per second, all workers together; -1: as many as are answered")
	fs.IntVar(&o.workers, "workers", 6, "concurrent clients")
	fs.DurationVar(&o.timeout, "timeout", 3*time.Second, "limit for one request")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	o.args = fs.Args()
	if endpoints == "" {
		return nil, fmt.Errorf("no -endpoints")
	}
	o.endpoints = strings.Split(endpoints, ",")
	if monitors != "" {
		o.monitors = strings.Split(monitors, ",")
	}
	if o.rate < -1 || o.rate == 0 || o.workers <= 0 || o.timeout <= 0 {
		return nil, fmt.Errorf("-rate, -workers and -timeout must be positive")
	}
	return o, nil
}

func usage(problem string) {
	names := make([]string, 0, len(systems))
	for name := range systems {
		names = append(names, name)
	}
	slices.Sort(names)
	fmt.Fprintf(os.Stderr, "sysprobe: %s\nusage: sysprobe {%s} {status|health|load|verify} -endpoints A,B [flags]\n",
		problem, strings.Join(names, "|"))
	os.Exit(exitUsage)
}

func printJSON(v any) error {
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
