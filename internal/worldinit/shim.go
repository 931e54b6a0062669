//go:build linux

package worldinit

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/pilotexec/pilot/internal/sys"
)

// A shimOrder tells the shim what to become.
type shimOrder struct {
	Args, Env []string
	Dir       string
	Drop      []int
}

// gateFD is where the shim finds its order. The order comes when the shim is
// traced, so that nothing of the command escapes notice.
const gateFD = 3

// runShim gives up the world's forbidden capabilities and becomes the command.
func runShim() error {
	gate := os.NewFile(gateFD, "gate")
	var order shimOrder
	if err := json.NewDecoder(gate).Decode(&order); err != nil {
		return fmt.Errorf("read order: %w", err)
	}
	_ = gate.Close()
	if len(order.Args) == 0 {
		return errors.New("the order names no program")
	}
	if err := os.Chdir(order.Dir); err != nil {
		return err
	}
	os.Clearenv()
	for _, kv := range order.Env {
		for i := range kv {
			if kv[i] == '=' && i > 0 {
				_ = os.Setenv(kv[:i], kv[i+1:])
				break
			}
		}
	}
	path, err := exec.LookPath(order.Args[0])
	if err != nil {
		return err
	}
	if err := sys.DropCaps(order.Drop); err != nil {
		return err
	}
	if err := sys.KeepFromChildren(); err != nil {
		return err
	}
	heedSignals()
	return syscall.Exec(path, order.Args, order.Env)
}

// heedSignals has the command act on signals as a program does that was started
// by a user. What the init ignores would stay ignored over exec, in all that the
// command starts; what is caught becomes the default: execve(2), "signal
// dispositions".
func heedSignals() {
	signal.Notify(make(chan os.Signal, 1), ignored...)
}
