//go:build !linux

package main

import (
	"context"
	"io"

	"github.com/pilotexec/pilot/internal/cli"
)

func reexec() {}

// engine is nil: processes can be forked on Linux only.
func engine() cli.Engine { return nil }

var showDemo func(ctx context.Context, stdout, stderr io.Writer) int
