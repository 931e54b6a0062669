//go:build linux

package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Show tells the whole story: a cluster loses a member, and pilot tries two
// recoveries of it while production goes on. exe is the pilot binary; it runs
// as a process of its own, since a tracer must not be the parent of what it
// traces. Show returns an exit status: 0 when all came out as it does in
// production, 1 otherwise.
func Show(ctx context.Context, exe string, stdout, stderr io.Writer) int {
	if err := show(ctx, exe, stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "pilot: error: demo: %v\n", err)
		return 1
	}
	return 0
}

func show(ctx context.Context, exe string, stdout, stderr io.Writer) (err error) {
	dir, err := os.MkdirTemp("/var/tmp", "pilot-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	say := func(format string, args ...any) { fmt.Fprintf(stdout, "\n## "+format+"\n\n", args...) }

	say("Three etcd members, a client that keeps writing, and then a lost disk (building etcd takes a minute the first time)")
	began := time.Now()
	scene, err := Prepare(ctx, filepath.Join(dir, "cluster"))
	if err != nil {
		return err
	}
	defer scene.Close()
	fmt.Fprintf(stdout, "%s was killed and its data directory is empty. %d members go on. (%.0f s)\n",
		scene.Lost.Name, len(scene.Survivors), time.Since(began).Seconds())
	config := filepath.Join(dir, "pilot.yaml")
	if err := os.WriteFile(config, []byte(scene.config()), 0o644); err != nil {
		return err
	}
	for _, try := range []struct {
		title, script string
		want          int
	}{
		{"Recovery A: start the member again, with an empty directory", scene.RecoveryA, 2},
		{"Recovery B: remove the member, add it anew, start it", scene.RecoveryB, 0},
	} {
		say("%s", try.title)
		fmt.Fprintf(stdout, "$ pilot run -f pilot.yaml -- %s\n\n", filepath.Base(try.script))
		cmd := exec.CommandContext(ctx, exe, "run", "-f", config, "--", try.script)
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		cmd.WaitDelay = 20 * time.Second
		cmd.Stdout, cmd.Stderr, cmd.Dir = stdout, stderr, dir
		err := cmd.Run()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			return err
		}
		if got := cmd.ProcessState.ExitCode(); got != try.want {
			return fmt.Errorf("pilot ended with status %d, not %d", got, try.want)
		}
	}
	say("Production, all the while")
	sum, err := scene.Production(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, sum)
	if !sum.Untouched() {
		return errors.New("production did not go on as if nothing had happened")
	}
	return nil
}

// config is the pilot.yaml of the scene.
func (s *Scene) config() string {
	var b strings.Builder
	fmt.Fprintf(&b, "cluster: demo\nmembers:\n")
	for _, m := range s.Survivors {
		fmt.Fprintf(&b, "  - name: %s\n    pid: %d\n    data: %s\n", m.Name, m.PID, m.Data)
	}
	fmt.Fprintf(&b, "  - name: %s\n    data: %s\n    command: [%s]\n", s.Lost.Name, s.Lost.Data, yamlList(s.Lost.Args))
	fmt.Fprintf(&b, "checks:\n  - name: all three members serve\n    command: [%s]\n", yamlList(s.Check))
	fmt.Fprintf(&b, "settle: 2s\ntimeout: 60s\n")
	return b.String()
}

func yamlList(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = fmt.Sprintf("%q", w)
	}
	return strings.Join(quoted, ", ")
}
