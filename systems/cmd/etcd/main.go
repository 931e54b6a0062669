// Command etcd is the unmodified etcd server. The upstream module cannot be
// built with "go install" from outside, because it has replace directives.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
