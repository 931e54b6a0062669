package probe

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ZooKeeper answers commands of four letters. srvr is always allowed, mntr only
// where 4lw.commands.whitelist says so. See the ZooKeeper Administrator's Guide.

func askZooKeeper(ctx context.Context, addrs []string, verb string) (Answer, error) {
	if verb == "roles" {
		return roles(ctx, addrs, zkRoles)
	}
	if verb == "health" {
		return each(ctx, addrs, func(ctx context.Context, addr string) (string, error) {
			s, err := zkServer(ctx, addr)
			return s["Mode"], err
		})
	}
	return most(ctx, addrs, larger, zkNumbers)
}

// zkServer is what srvr tells.
func zkServer(ctx context.Context, addr string) (map[string]string, error) {
	text, err := talk(ctx, addr, "srvr")
	if err != nil {
		return nil, err
	}
	s := pairs(text, ": ")
	if s["Mode"] == "" {
		return nil, fmt.Errorf("%.200s", strings.TrimSpace(text))
	}
	return s, nil
}

// zkNumbers counts nodes. Those that end with a session may do so at any time,
// so only where mntr tells them apart must the others not become fewer.
func zkNumbers(ctx context.Context, addr string) (map[string]int64, error) {
	text, err := talk(ctx, addr, "mntr")
	if err != nil {
		return nil, err
	}
	m := pairs(text, "\t")
	nodes, err := strconv.ParseInt(m["zk_znode_count"], 10, 64)
	ephemeral, err2 := strconv.ParseInt(m["zk_ephemerals_count"], 10, 64)
	if errors.Join(err, err2) == nil {
		return map[string]int64{"lasting znodes": nodes - ephemeral, "~ephemeral znodes": ephemeral}, nil
	}
	s, err := zkServer(ctx, addr)
	if err != nil {
		return nil, err
	}
	if nodes, err = strconv.ParseInt(s["Node count"], 10, 64); err != nil {
		return nil, fmt.Errorf("node count: %w", err)
	}
	return map[string]int64{"~znodes": nodes}, nil
}

// pairs reads lines of a name and a value.
func pairs(text, between string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), between); ok {
			out[name] = value
		}
	}
	return out
}
