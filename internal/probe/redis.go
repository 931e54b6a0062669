package probe

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// Redis answers inline commands, see https://redis.io/docs/latest/develop/reference/protocol-spec/.
// A password is taken from REDISCLI_AUTH, as redis-cli does.

func askRedis(ctx context.Context, addrs []string, verb string) (Answer, error) {
	if verb == "roles" {
		return roles(ctx, addrs, redisRoles)
	}
	if verb == "health" {
		return each(ctx, addrs, redisHealth)
	}
	// Masters have keys of their own, replicas those of a master.
	return most(ctx, addrs, sum, redisNumbers)
}

func redisHealth(ctx context.Context, addr string) (string, error) {
	info, err := redisInfo(ctx, addr)
	if err != nil {
		return "", err
	}
	switch {
	case info["loading"] == "1":
		return "", fmt.Errorf("loads its data")
	case info["role"] == "slave" && info["master_link_status"] != "up":
		return "", fmt.Errorf("a replica whose link is %s", info["master_link_status"])
	}
	return info["role"], nil
}

func redisNumbers(ctx context.Context, addr string) (map[string]int64, error) {
	info, err := redisInfo(ctx, addr)
	if err != nil {
		return nil, err
	}
	if info["role"] != "master" {
		return map[string]int64{"~replicas": 1}, nil
	}
	out := map[string]int64{"~masters": 1, "keys": 0}
	for name, value := range info { // db0: keys=17,expires=1,avg_ttl=0
		keys, ok := strings.CutPrefix(value, "keys=")
		if !strings.HasPrefix(name, "db") || !ok {
			continue
		}
		keys, _, _ = strings.Cut(keys, ",")
		n, err := strconv.ParseInt(keys, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("keys of %s: %w", name, err)
		}
		out["keys"] += n
	}
	return out, nil
}

// redisInfo is what INFO tells.
func redisInfo(ctx context.Context, addr string) (map[string]string, error) {
	conn, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	if password := os.Getenv("REDISCLI_AUTH"); password != "" {
		if _, err := fmt.Fprintf(conn, "*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n", len(password), password); err != nil {
			return nil, err
		}
		if line, err := lineOf(r); err != nil {
			return nil, err
		} else if line != "+OK" {
			return nil, fmt.Errorf("AUTH: %.200s", line)
		}
	}
	if _, err := io.WriteString(conn, "*1\r\n$4\r\nINFO\r\n"); err != nil {
		return nil, err
	}
	line, err := lineOf(r)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimPrefix(line, "$"))
	if err != nil || n < 0 || n > maxAnswer {
		return nil, fmt.Errorf("INFO: %.200s", line)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, err
	}
	info := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return info, nil
}
