//go:build !linux

package main

import (
	"context"
	"io"

	"github.com/pilotexec/pilot/internal/cli"
	"github.com/pilotexec/pilot/internal/drift"
	"github.com/pilotexec/pilot/internal/model"
)

func reexec() {}

// engine is nil: processes can be forked on Linux only.
func engine() cli.Engine { return nil }

var look func(ctx context.Context, spec model.Spec, config string) (drift.Fingerprint, error)

var showDemo func(ctx context.Context, stdout, stderr io.Writer) int

func userTerminal() cli.Terminal { return nil }

func inWorld() bool { return false }
