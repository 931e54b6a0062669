//go:build linux

package agent

import (
	"errors"
	"fmt"
	"os"

	"github.com/pilotexec/pilot/internal/image"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/plan"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/worldinit"
)

// checkHost refuses a kernel that lacks what a fork needs.
func checkHost() []model.Refusal {
	refusals := append(checkRelease(sys.Release()), checkNamespaces()...)
	return append(refusals, plan.Host(readHost())...)
}

// checkWorld makes an empty world of the given owner and ends it. What a
// security module, a limit or a surrounding container forbids is found so. within
// and lender are as in worldinit.Config.
func checkWorld(owner, within, lender int) []model.Refusal {
	f := readHost()
	p, err := worldinit.Start(worldinit.Config{Label: "check", Owner: owner, Within: within, Lender: lender}, nil)
	if err == nil {
		err = errors.Join(p.Kill(), p.Wait())
	}
	return plan.World(f, owner, err)
}

func checkRelease(release string) (refusals []model.Refusal) {
	if !plan.KernelSupported(release) {
		refusals = append(refusals, model.Refusal{
			Object: "kernel", Kind: release, Why: "is too old", Hint: "pilot needs Linux " + plan.MinimumKernel + " or newer",
		})
	}
	return refusals
}

func checkNamespaces() (refusals []model.Refusal) {
	for _, ns := range []string{"user", "pid", "net", "mnt", "ipc", "uts", "time"} {
		if _, err := os.Stat("/proc/self/ns/" + ns); err != nil {
			refusals = append(refusals, model.Refusal{
				Object: "kernel", Kind: ns + " namespace", Why: "is not supported by this kernel",
				Hint: "a kernel with namespaces of every kind is needed",
			})
		}
	}
	return refusals
}

// checkData refuses data that is not there.
func checkData(members []model.Member) (refusals []model.Refusal) {
	for _, m := range members {
		for _, path := range m.Data {
			if _, err := os.Stat(path); err != nil {
				refusals = append(refusals, model.Refusal{
					Member: m.Name, PID: m.PID, Object: path, Kind: "data directory", Why: causeOf(err),
					Hint: "correct it in pilot.yaml, or create it empty for a member whose data is lost",
				})
			}
		}
	}
	return refusals
}

func causeOf(err error) string {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// refusedCopy tells a copy that cannot be made, and needed no pause to find
// out, from one that failed.
func refusedCopy(err error) error {
	if errors.Is(err, image.ErrSpace) || errors.Is(err, image.ErrRefused) || errors.Is(err, image.ErrGone) {
		return &model.RefusedError{Refusals: []model.Refusal{{
			Object: "data", Kind: "copy", Why: err.Error(), Hint: "free space, or name less data in pilot.yaml",
		}}}
	}
	if errors.Is(err, image.ErrSlow) {
		return &model.RefusedError{Refusals: []model.Refusal{{
			Object: "data", Kind: "image", Why: err.Error(), Hint: "raise --max-pause, or keep the data on XFS or btrfs",
		}}}
	}
	return fmt.Errorf("copy data: %w", err)
}
