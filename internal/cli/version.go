package cli

import (
	"context"
	"flag"
	"fmt"
	"runtime"

	"github.com/pilotexec/pilot/internal/model"
)

var versionCommand = command{
	name: "version", args: "[--json]",
	short: "tell the version of pilot and of its report",
	setup: func(a *app, fs *flag.FlagSet) action {
		f := formatFlags(fs)
		return func(_ context.Context, operands []string) (int, error) {
			if err := noOperands("version", operands); err != nil {
				return 0, err
			}
			return ExitPass, a.version(*f)
		}
	},
}

func (a *app) version(f format) error {
	version := a.Version
	if version == "" {
		version = "(devel)"
	}
	if f == formatJSON {
		return encode(a.Stdout, struct {
			Version string `json:"version"`
			Report  int    `json:"report_version"`
			Go      string `json:"go"`
			OS      string `json:"os"`
			Arch    string `json:"arch"`
		}{version, model.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH})
	}
	_, err := fmt.Fprintf(a.Stdout, "pilot %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
