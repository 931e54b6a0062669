//go:build linux

// Package testcluster builds and runs real servers for tests and the demo:
// three etcd, three NATS servers with JetStream, a ZooKeeper ensemble of
// three, a Redis master with a replica, or three Kafka brokers that are their own
// controllers.
//
// Everything runs on 127.0.0.1. A cluster keeps all its files in the directory
// that it was started with; binaries are kept in the user's cache directory.
// The package signals only processes that it started. Should its own process
// die, the kernel kills them.
package testcluster

// A Kind names a system.
type Kind string

// The systems that can be started.
const (
	Etcd      Kind = "etcd"
	NATS      Kind = "nats"
	ZooKeeper Kind = "zookeeper"
	Redis     Kind = "redis"
	Kafka     Kind = "kafka"
)

// Kinds is every system.
var Kinds = []Kind{Etcd, NATS, ZooKeeper, Redis, Kafka}

// DefaultSize is how many members a cluster of this kind has in tests.
func (k Kind) DefaultSize() int {
	if k == Redis {
		return 2
	}
	return 3
}

// probe is what sysprobe calls the system.
func (k Kind) probe() string {
	if k == ZooKeeper {
		return "zk"
	}
	return string(k)
}
