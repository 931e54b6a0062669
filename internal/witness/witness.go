// Package witness reads from this host what package drift compares: how the
// things are that the outcome of a trial depends on. It stops and changes
// nothing.
package witness

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/drift"
	"github.com/pilotexec/pilot/internal/model"
)

// Look takes the fingerprint of spec, whose pilot.yaml is config; empty where
// there is none. What cannot be read of a member or a file is said there; an
// error means that the host itself cannot be told.
func Look(ctx context.Context, spec model.Spec, config string) (drift.Fingerprint, error) {
	f := drift.Fingerprint{Version: drift.Version, Time: time.Now().UTC(), UID: os.Getuid(), Action: spec.Action, Dir: spec.Dir, Env: spec.Env}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return f, fmt.Errorf("read the id of this boot: %w", err)
	}
	f.Boot = strings.TrimSpace(string(boot))
	if f.Host, err = os.Hostname(); err != nil {
		return f, err
	}
	r := reader{sums: map[key]string{}}
	if f.Members, err = r.members(spec.Members); err != nil {
		return f, err
	}
	f.Place = at(spec.Dir)
	var live []string
	for _, m := range spec.Members {
		if !m.Down() {
			live = append(append(live, m.Data...), m.Known...)
		}
	}
	for _, path := range named(spec.Action, spec.Dir, spec.Env, live) {
		f.Files = append(f.Files, r.file(path))
	}
	if config != "" {
		file := r.file(config)
		f.Config = &file
	}
	f.Roles, f.RolesErr = roles(ctx, spec)
	return f, ctx.Err()
}
