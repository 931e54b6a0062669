//go:build linux

package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/pilotexec/pilot/internal/image"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/plan"
)

// imageOf is how the image of the sources is to be made. In the mounts of a
// member it must not leave a directory that gc would look for on the host.
func (r *run) imageOf(sources []string) image.Config {
	return image.Config{Dir: filepath.Join(r.dir, "image"), Sources: sources, Nameless: r.engine.mounts != 0}
}

// ways are those by which the data were imaged; none if that did not come about.
func (r *run) ways() []model.DataWay {
	if r.image == nil {
		return nil
	}
	return r.image.Stats().Ways
}

// dataWays tells how a member's data would be imaged, by trying it, or why they
// cannot be.
func dataWays(ctx context.Context, data []string, mounts uint64) (ways []model.DataWay, refusals []model.Refusal, err error) {
	if len(data) == 0 {
		return nil, nil, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = os.TempDir()
	}
	dir, err := os.MkdirTemp(home, "pilot-doctor-")
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c := image.Config{Dir: filepath.Join(dir, "image"), Sources: plan.Tidy(data), Nameless: mounts != 0}
	ways, err = c.Examine(ctx)
	if err == nil {
		return ways, nil, nil
	}
	var refused *model.RefusedError
	if err := refusedCopy(err); !errors.As(err, &refused) {
		return nil, nil, err
	}
	return nil, refused.Refusals, nil
}
