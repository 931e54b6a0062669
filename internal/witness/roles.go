package witness

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// patience bounds the question of who leads.
const patience = 10 * time.Second

// roles asks the servers that the checks of a preset ask who leads, and who the
// members are: by the program and in the environment of these, which may have
// the password. Without such checks it does not know whom to ask.
func roles(ctx context.Context, spec model.Spec) (lines []string, failed string) {
	command := question(spec.Probes)
	if command == nil {
		return nil, ""
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env, cmd.Dir = spec.Env, spec.Dir
	out, err := cmd.Output()
	if err != nil {
		return nil, "no server says" // the same words each time, without ports
	}
	lines = strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(lines)
	return slices.Compact(lines), ""
}

// question asks those that checks of the form "pilot probe SYSTEM QUESTION
// ADDR..." ask: on their monitoring ports if these are known, as for numbers of NATS.
func question(probes []model.Probe) (command []string) {
	for _, p := range probes {
		c := p.Command
		if len(c) < 5 || c[1] != "probe" || c[3] != "health" && c[3] != "numbers" {
			continue
		}
		if command == nil || c[2] == command[2] && c[3] == "numbers" {
			command = append([]string{c[0], "probe", c[2], "roles"}, c[4:]...)
		}
	}
	return command
}
