//go:build linux

package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/pilotexec/pilot/internal/live"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/plan"
	"github.com/pilotexec/pilot/internal/procfs"
)

// Members may have other mounts, another network and another host name than
// pilot: services with private directories, for instance. Then all paths and
// addresses mean something else, everywhere. So the run is done by another
// process, which has joined the members' namespaces before it began: see
// inside.go. The agent starts it, and passes on what it tells.

// An order is what the process inside shall do.
type order struct {
	Spec   model.Spec
	Env    []string // the spec's, which its encoding leaves out
	Series model.Series
	// Dir is the run's directory, as it is seen from inside; empty for a diagnosis.
	Dir string
	// Mounts is the namespace that the process inside has a copy of.
	Mounts uint64
	// Typed says that there is a terminal, at terminalFD.
	Typed bool
}

// news is what the process inside tells, one after the other.
type news struct {
	Phase, Text string
	Report      *model.Report
	// Answer is one to a request, and Terminal what is wanted of it: relay.go.
	Answer   *live.Answer `json:",omitempty"`
	Terminal string       `json:",omitempty"`
	// The last one has one of these, or nothing.
	Diagnoses []model.Diagnosis
	Refusals  []model.Refusal
	Err       string
}

// elsewhere returns a member whose namespaces the agent has to join, and the
// number of its mount namespace.
func (e Engine) elsewhere(members []model.Member) (pid int, mounts uint64, ok bool) {
	ours, err := procfs.Namespaces(os.Getpid())
	if err != nil || e.mounts != 0 {
		return 0, 0, false
	}
	var theirs []map[string]uint64
	for _, m := range members {
		if m.Down() {
			continue
		}
		spaces, err := procfs.Namespaces(m.PID)
		if err != nil {
			return 0, 0, false // the check will say more
		}
		pid, mounts, theirs = m.PID, spaces["mnt"], append(theirs, spaces)
	}
	return pid, mounts, plan.Enter(ours, theirs)
}

// inside has the order done in the namespaces of process pid. workDir is on
// the host, and empty for a diagnosis.
func inside(ctx context.Context, pid int, o order, workDir string, progress Progress, told func(*model.Report)) (last news, err error) {
	if workDir != "" {
		if err := os.MkdirAll(workDir, 0o700); err != nil {
			return last, err
		}
		if o.Dir, err = placeFor(pid, workDir); err != nil {
			return last, err
		}
	}
	input, give, err := os.Pipe()
	if err != nil {
		return last, err
	}
	defer give.Close() // what is inside ends with it
	take, output, err := os.Pipe()
	if err != nil {
		_ = input.Close()
		return last, err
	}
	defer take.Close()
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{enterName, strconv.Itoa(pid), strconv.FormatUint(o.Mounts, 10), workDir, o.Dir}
	cmd.Stdin, cmd.Stderr, cmd.ExtraFiles = input, os.Stderr, []*os.File{output}
	// Interrupted, it lets production go and erases what it made.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	relay, started, err := newRelay(live.From(ctx), cmd)
	if err == nil {
		err = cmd.Start()
		started()
	}
	_ = input.Close()
	_ = output.Close()
	if relay != nil {
		defer relay.end()
	}
	if err != nil {
		return last, err
	}
	orders := json.NewEncoder(give)
	o.Typed = relay.wire != nil
	if err = orders.Encode(o); err == nil {
		relay.begin(orders)
	}
	for in := json.NewDecoder(take); err == nil; {
		var n news
		if err = in.Decode(&n); errors.Is(err, io.EOF) {
			err = nil
			break
		}
		if relay.hear(n); n.Answer != nil || n.Terminal != "" {
			continue
		}
		if last = n; n.Phase != "" && progress != nil {
			progress(n.Phase, n.Text)
		}
		if n.Report != nil && told != nil {
			told(n.Report)
		}
	}
	return last, errors.Join(cmd.Wait(), err)
}

// outcome turns the last news into an error, where it is one.
func (n news) outcome() error {
	switch {
	case len(n.Refusals) > 0:
		return &model.RefusedError{Refusals: n.Refusals}
	case n.Err != "":
		return errors.New(n.Err)
	}
	return nil
}

func (e Engine) seriesInside(ctx context.Context, pid int, mounts uint64, spec model.Spec, s model.Series, workDir string, progress Progress, told func(*model.Report)) error {
	n := 0
	last, err := inside(ctx, pid, order{Spec: spec, Env: spec.Env, Series: s, Mounts: mounts}, workDir, progress, func(r *model.Report) {
		n++
		r.ID = filepath.Base(workDir) // inside, the directory may have another name
		told(r)
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if oerr := last.outcome(); oerr != nil {
		return oerr
	}
	if err == nil && n == 0 {
		err = errors.New("ended without a report")
	}
	if err != nil {
		return fmt.Errorf("run in the namespaces of pid %d: %w", pid, err)
	}
	return nil
}

func (e Engine) doctorInside(ctx context.Context, pid int, mounts uint64, spec model.Spec) ([]model.Diagnosis, error) {
	last, err := inside(ctx, pid, order{Spec: spec, Mounts: mounts}, "", nil, nil)
	if oerr := last.outcome(); oerr != nil {
		return nil, oerr
	}
	if err != nil {
		return nil, fmt.Errorf("look into the namespaces of pid %d: %w", pid, err)
	}
	return last.Diagnoses, nil
}

// placeFor returns where the run's directory can be mounted in the view of
// process pid: at its own path where there is one, or at an empty directory.
func placeFor(pid int, workDir string) (string, error) {
	root := fmt.Sprintf("/proc/%d/root", pid)
	if fi, err := os.Lstat(root + workDir); err == nil && fi.IsDir() {
		return workDir, nil
	}
	for _, dir := range []string{"/mnt", "/media", "/srv"} {
		if entries, err := os.ReadDir(root + dir); err == nil && len(entries) == 0 {
			return dir, nil
		}
	}
	return "", &model.RefusedError{Refusals: []model.Refusal{{
		PID: pid, Object: "mounts", Why: "there is no place for the run's files: " + workDir + ", or an empty /mnt, /media or /srv",
		Hint: "make an empty /mnt in the file system of the members",
	}}}
}
