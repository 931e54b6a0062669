package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pilotexec/pilot/internal/config"
	"github.com/pilotexec/pilot/internal/drift"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/preset"
	"github.com/pilotexec/pilot/internal/registry"
)

// remember stores what the run depends on, as it is before the run, so that
// pilot apply can tell whether it is so still. A run without it is worth no less,
// but cannot be applied.
func (a *app) remember(ctx context.Context, t *target, record *registry.Run, spec model.Spec, p progress) {
	if a.Look == nil {
		return
	}
	if err := a.fingerprint(ctx, t, record, spec); err != nil && ctx.Err() == nil {
		p.printf("pilot apply will refuse this run: %v", err)
	}
}

func (a *app) fingerprint(ctx context.Context, t *target, record *registry.Run, spec model.Spec) error {
	c, err := t.config(a)
	if err != nil {
		return err
	}
	file := t.read(a)
	f, err := a.Look(ctx, spec, file)
	if err != nil {
		return err
	}
	f.Cluster = clusterName(c, spec)
	f.Target = drift.Target{Match: t.match, PIDs: t.pids, Data: t.data, Preset: c.Preset, Config: file}
	return record.Remember(f)
}

// read is the absolute path of the pilot.yaml that load reads, or empty.
func (t *target) read(a *app) string {
	switch {
	case t.file != "":
		path, err := filepath.Abs(t.file)
		if err != nil {
			return t.file
		}
		return path
	case len(t.match) > 0 || len(t.pids) > 0:
		return ""
	}
	path := a.path(config.DefaultFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return path
}

// clusterName is what a person types to confirm that this cluster is meant: its
// name in pilot.yaml, else its system, else what its members' names have in
// common, else the first of these.
func clusterName(c *config.Config, spec model.Spec) string {
	if name := strings.TrimSpace(c.Cluster); name != "" {
		return name
	}
	for _, m := range spec.Members {
		if p, ok := preset.Of(m); ok {
			return p.Name
		}
	}
	common := spec.Members[0].Name
	for _, m := range spec.Members {
		for !strings.HasPrefix(m.Name, common) {
			common = common[:len(common)-1]
		}
	}
	if common = strings.TrimRight(common, "-_.0123456789"); common != "" {
		return common
	}
	return spec.Members[0].Name
}
