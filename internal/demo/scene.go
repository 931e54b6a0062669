//go:build linux

// Package demo sets the scene for "pilot demo": a real etcd cluster of three
// under load, of which a follower was killed and its data lost, and two
// recoveries to try. docs/design/demo.md tells what each of them does.
//
// The package knows nothing of pilot. It runs neither recovery.
package demo

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/pilotexec/pilot/internal/testcluster"
)

//go:embed *.sh.tmpl
var scripts embed.FS

const (
	members = 3
	workers = 4 // clients of the load
	rate    = 100

	// warmUp is how long the load writes before the member is killed. etcd
	// refuses to add a member until those it has were connected for 5 s.
	warmUp = 6 * time.Second
)

// A Scene is a running cluster with one member lost.
type Scene struct {
	Cluster   *testcluster.Cluster
	Survivors []*testcluster.Member

	// Lost is the member that was killed. Its Data directory is there, but
	// empty; its Args are those it ran with.
	Lost *testcluster.Member

	// RecoveryA starts the lost member as it was. It fails: the member panics.
	RecoveryA string
	// RecoveryB removes the lost member, adds it anew and starts it.
	RecoveryB string

	// Check succeeds if all three members serve: the goal of a recovery.
	Check []string

	load   *testcluster.Load
	before baseline
}

// baseline is production before any pilot.
type baseline struct {
	election string
	members  string
	foreign  int64
	stats    testcluster.LoadStats
}

// Prepare builds etcd if need be and sets the scene in dir. The caller closes
// the scene, and removes dir after that.
func Prepare(ctx context.Context, dir string) (*Scene, error) {
	bin, err := testcluster.Build(ctx, testcluster.Etcd)
	if err != nil {
		return nil, err
	}
	c, err := testcluster.Start(ctx, testcluster.Etcd, dir, bin, members)
	if err != nil {
		return nil, err
	}
	s := &Scene{Cluster: c, Check: c.HealthCommand()}
	if err := s.set(ctx, bin); err != nil {
		c.Stop()
		return nil, err
	}
	return s, nil
}

func (s *Scene) set(ctx context.Context, bin testcluster.Paths) error {
	leader, err := s.Cluster.Leader(ctx)
	if err != nil {
		return err
	}
	// A wiped leader would rejoin: its successor starts without knowing how
	// far it had come.
	for _, m := range s.Cluster.Members {
		if s.Lost == nil && m != leader {
			s.Lost = m
			continue
		}
		s.Survivors = append(s.Survivors, m)
	}
	s.load, err = s.Cluster.StartLoad(ctx, testcluster.LoadConfig{Rate: rate, Workers: workers, Members: s.Survivors})
	if err != nil {
		return err
	}
	select {
	case <-time.After(warmUp):
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := s.Cluster.Kill(s.Lost.Name); err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(s.Lost.Data), os.Mkdir(s.Lost.Data, 0o700)); err != nil {
		return err
	}
	if err := s.writeScripts(bin); err != nil {
		return err
	}
	s.before, err = s.look(ctx)
	return err
}

// writeScripts writes both recoveries beside the members' directories.
func (s *Scene) writeScripts(bin testcluster.Paths) error {
	// The flags are those the member ran with, but for one: it is to join a
	// cluster that exists.
	flags := slices.Clone(s.Lost.Args[1:])
	i := slices.Index(flags, "--initial-cluster-state")
	if i < 0 {
		return errors.New("the member's command line does not say --initial-cluster-state")
	}
	flags[i+1] = "existing"
	var lines []string
	for pair := range slices.Chunk(flags, 2) {
		lines = append(lines, pair[0]+" "+quote(pair[1]))
	}
	var survivors []string
	for _, m := range s.Survivors {
		survivors = append(survivors, m.Client)
	}
	data := map[string]any{
		"Etcd":      quote(bin.Etcd),
		"Etcdctl":   quote(bin.Etcdctl),
		"Flags":     lines,
		"Name":      s.Lost.Name,
		"Client":    s.Lost.Client,
		"PeerURL":   "http://" + s.Lost.Peer,
		"Survivors": strings.Join(survivors, ","),
	}
	tmpl, err := template.New("").Option("missingkey=error").ParseFS(scripts, "*.sh.tmpl")
	if err != nil {
		return err
	}
	s.RecoveryA = filepath.Join(s.Cluster.Dir, "recovery-a.sh")
	s.RecoveryB = filepath.Join(s.Cluster.Dir, "recovery-b.sh")
	for _, name := range []string{s.RecoveryA, s.RecoveryB} {
		var text strings.Builder
		if err := tmpl.ExecuteTemplate(&text, filepath.Base(name)+".tmpl", data); err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(text.String()), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// quote makes one word for the shell of any string.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// Close ends the load and the cluster.
func (s *Scene) Close() { s.Cluster.Stop() }

// look reads what production must keep.
func (s *Scene) look(ctx context.Context) (baseline, error) {
	st, err := s.Cluster.StatusOf(ctx, s.Survivors...)
	if err == nil && st.Err != "" {
		err = errors.New(st.Err)
	}
	if err != nil {
		return baseline{}, err
	}
	list, err := s.Cluster.MemberList(ctx, s.Survivors...)
	if err != nil {
		return baseline{}, err
	}
	stats, err := s.load.Stats()
	if err != nil {
		return baseline{}, fmt.Errorf("production's client: %w", err)
	}
	return baseline{election: st.Election, members: list, foreign: st.Foreign, stats: stats}, nil
}
