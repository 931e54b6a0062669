// Package probe asks servers how they are and how much they hold, in their own
// simple protocols. It is what the checks of presets run inside a world, where a
// system's own client may not be installed.
//
// An answer is lines of a name and a number, or words. Lines that begin with ~
// are only told: a number there may fall. Nothing is ever written to a server.
package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sort"
	"strings"
	"time"
)

// A System is one that can be asked.
type System struct {
	Name string
	// Verbs are what can be asked of it, the default first.
	Verbs []string
	ask   func(ctx context.Context, addrs []string, verb string) (Answer, error)
}

// Systems is every system.
var Systems = []System{
	{"http", []string{"get", "body"}, askHTTP},                           // here
	{"tcp", []string{"connect"}, askTCP},                                 // here
	{"etcd", []string{"health", "numbers", "members", "roles"}, askEtcd}, // etcd.go
	{"redis", []string{"health", "numbers", "roles"}, askRedis},          // redis.go
	{"zookeeper", []string{"health", "numbers", "roles"}, askZooKeeper},  // zookeeper.go
	{"nats", []string{"health", "numbers", "roles"}, askNATS},            // nats.go
	{"kafka", []string{"health", "roles"}, askKafka},                     // kafka.go
}

// An Answer is lines to print.
type Answer []string

// Ask asks the servers at addrs, HOST:PORT each. Health wants all of them to
// serve; numbers are the most that any that answers has.
func Ask(ctx context.Context, system string, addrs []string, verb string) (Answer, error) {
	for _, s := range Systems {
		if s.Name != system {
			continue
		}
		if verb == "" {
			verb = s.Verbs[0]
		}
		if !slices.Contains(s.Verbs, verb) {
			return nil, fmt.Errorf("probe %s: unknown question %q, known are %s", system, verb, strings.Join(s.Verbs, ", "))
		}
		if len(addrs) == 0 {
			return nil, fmt.Errorf("probe %s: no address", system)
		}
		a, err := s.ask(ctx, addrs, verb)
		if err != nil {
			err = fmt.Errorf("probe %s: %w", system, err)
		}
		return a, err
	}
	return nil, fmt.Errorf("probe: unknown system %q", system)
}

// each asks every address, and fails for the first that does not answer well.
func each(ctx context.Context, addrs []string, ask func(ctx context.Context, addr string) (string, error)) (Answer, error) {
	var out Answer
	var errs []error
	for _, addr := range addrs {
		line, err := ask(ctx, addr)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", addr, err))
			continue
		}
		out = append(out, addr+" "+line)
	}
	return out, errors.Join(errs...)
}

// most asks every address for numbers, and merges those of the servers that
// answer. It fails when none does.
func most(ctx context.Context, addrs []string, merge func(a, b int64) int64, ask func(ctx context.Context, addr string) (map[string]int64, error)) (Answer, error) {
	all := map[string]int64{}
	var errs []error
	for _, addr := range addrs {
		numbers, err := ask(ctx, addr)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", addr, err))
			continue
		}
		for name, n := range numbers {
			if old, known := all[name]; known {
				n = merge(old, n)
			}
			all[name] = n
		}
	}
	if len(errs) == len(addrs) {
		return nil, errors.Join(errs...)
	}
	var out Answer
	for name, n := range all {
		out = append(out, fmt.Sprintf("%s %d", name, n))
	}
	sort.Strings(out)
	return out, nil
}

func larger(a, b int64) int64 { return max(a, b) }

func sum(a, b int64) int64 { return a + b }

// patience bounds one question where the context does not.
const patience = 5 * time.Second

// dial connects, and bounds all that follows.
func dial(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: patience}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	end := time.Now().Add(patience)
	if limit, ok := ctx.Deadline(); ok && limit.Before(end) {
		end = limit
	}
	if err := conn.SetDeadline(end); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// maxAnswer bounds what is read of one answer.
const maxAnswer = 16 << 20

// talk sends a request and reads until the server closes the connection.
func talk(ctx context.Context, addr, request string) (string, error) {
	conn, err := dial(ctx, addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(conn, maxAnswer))
	return string(text), err
}

// lineOf reads one line.
func lineOf(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}

func askTCP(ctx context.Context, addrs []string, _ string) (Answer, error) {
	return each(ctx, addrs, func(ctx context.Context, addr string) (string, error) {
		conn, err := dial(ctx, addr)
		if err != nil {
			return "", err
		}
		return "accepts", conn.Close()
	})
}

// askHTTP wants a status below 400 from URLs. Asked for the body, it returns the
// lines of all.
func askHTTP(ctx context.Context, urls []string, verb string) (out Answer, err error) {
	if verb == "body" {
		for _, url := range urls {
			text, err := fetch(ctx, withScheme(url), "")
			if err != nil {
				return nil, err
			}
			out = append(out, strings.Split(strings.TrimRight(string(text), "\n"), "\n")...)
		}
		return out, nil
	}
	return each(ctx, urls, func(ctx context.Context, url string) (string, error) {
		_, err := fetch(ctx, withScheme(url), "")
		return "answers", err
	})
}

func withScheme(url string) string {
	if strings.Contains(url, "://") {
		return url
	}
	return "http://" + url
}

// fetch gets a page, or posts JSON to it. It takes no notice of proxies.
func fetch(ctx context.Context, url, body string) ([]byte, error) {
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 400 {
		return nil, &statusError{fmt.Sprintf("status %s: %.200s", resp.Status, text)}
	}
	return text, nil
}

// A statusError is the answer of a server that speaks HTTP, and is not well.
type statusError struct{ text string }

func (e *statusError) Error() string { return e.text }
