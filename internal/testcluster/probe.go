//go:build linux

package testcluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
)

// Status is a cluster as its members tell it. The fields mean the same for
// every system; see sysprobe for what a term and a revision are.
type Status struct {
	System   string         `json:"system"`
	Healthy  bool           `json:"healthy"`  // all answered and agree
	Leader   string         `json:"leader"`   // client address of the leader
	Term     uint64         `json:"term"`     // new after every election
	Election string         `json:"election"` // leader and term of all replicated groups; compare this
	Size     int            `json:"size"`     // members that the cluster says it has
	Keys     int            `json:"keys"`     // entries of the load that are stored
	Last     uint64         `json:"last"`     // highest sequence number of a worker
	Foreign  int64          `json:"foreign"`  // etcd: changes of the store that no load made
	Members  []MemberStatus `json:"members"`
	Err      string         `json:"err"`
}

// MemberStatus is what one member tells.
type MemberStatus struct {
	Endpoint string `json:"endpoint"`
	Name     string `json:"name"`
	ID       string `json:"id"`
	Role     string `json:"role"` // "leader" or "follower", mostly
	Leader   string `json:"leader"`
	Term     uint64 `json:"term"`
	Revision int64  `json:"revision"`
	Index    uint64 `json:"index"`
	Detail   string `json:"detail"`
	Err      string `json:"err"`
}

// ParseStatus reads the output of a status command.
func ParseStatus(out []byte) (Status, error) {
	var st Status
	dec := json.NewDecoder(bytes.NewReader(out))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&st); err != nil {
		return Status{}, fmt.Errorf("status %q: %w", tail(out, 200), err)
	}
	return st, nil
}

// StatusCommand prints the cluster's status, for ParseStatus. Like the other
// commands it can run wherever the cluster's addresses are reachable.
func (c *Cluster) StatusCommand() []string { return c.probe("status", c.Members) }

// HealthCommand succeeds if every member serves consistent requests.
func (c *Cluster) HealthCommand() []string { return c.probe("health", c.Members) }

// VerifyCommand succeeds if all writes of a record are stored, as read through
// every member.
func (c *Cluster) VerifyCommand(record string) []string {
	return c.probe("verify", c.Members, "-record", record)
}

func (c *Cluster) probe(verb string, members []*Member, flags ...string) []string {
	var endpoints, monitors []string
	for _, m := range members {
		endpoints = append(endpoints, m.Client)
		monitors = append(monitors, m.Monitor)
	}
	argv := []string{c.bin.Sysprobe, c.Kind.probe(), verb, "-endpoints", strings.Join(endpoints, ",")}
	if c.Kind == NATS {
		argv = append(argv, "-monitors", strings.Join(monitors, ","))
	}
	return append(argv, flags...)
}

// Status asks the running cluster.
func (c *Cluster) Status(ctx context.Context) (Status, error) {
	return c.StatusOf(ctx, c.Members...)
}

// StatusOf asks some of the members only.
func (c *Cluster) StatusOf(ctx context.Context, members ...*Member) (Status, error) {
	out, err := output(ctx, c.probe("status", members))
	if err != nil {
		return Status{}, err
	}
	return ParseStatus(out)
}

// Health asks the running cluster whether every member serves.
func (c *Cluster) Health(ctx context.Context) error {
	_, err := output(ctx, c.HealthCommand())
	return err
}

// Verify checks the running cluster against a record.
func (c *Cluster) Verify(ctx context.Context, record string) error {
	return c.VerifyOf(ctx, record, c.Members...)
}

// VerifyOf checks some of the members only.
func (c *Cluster) VerifyOf(ctx context.Context, record string, members ...*Member) error {
	_, err := output(ctx, c.probe("verify", members, "-record", record))
	return err
}

// MemberList returns the cluster's own list of its members, one a line, as
// seen through the given ones. It is for etcd only.
func (c *Cluster) MemberList(ctx context.Context, through ...*Member) (string, error) {
	out, err := output(ctx, c.probe("member-list", through))
	return string(out), err
}

// Leader returns the member that leads now, as the running members tell.
func (c *Cluster) Leader(ctx context.Context) (*Member, error) {
	st, err := c.StatusOf(ctx, c.running()...)
	if err != nil {
		return nil, err
	}
	for _, m := range c.Members {
		if m.Client == st.Leader {
			return m, nil
		}
	}
	return nil, fmt.Errorf("no leader: election %q %s", st.Election, st.Err)
}

func (c *Cluster) running() []*Member {
	var members []*Member
	for _, m := range c.Members {
		if m.Running() {
			members = append(members, m)
		}
	}
	return members
}

// output runs a probe; the error quotes what it printed to stderr.
func output(ctx context.Context, argv []string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(argv[1:3], " "), err, tail(stderr.Bytes(), 1000))
	}
	return out, nil
}
