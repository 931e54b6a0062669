//go:build linux

package observe

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pilotexec/pilot/internal/live"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/sys"
)

// lastWords is how long what a shell has written is waited for after its end, when
// others still have its terminal. Else the end of the terminal tells.
const lastWords = 300 * time.Millisecond

// stuck is how long the user's terminal may take no output when the shell has to
// end.
const stuck = time.Second

// Shell runs a command at a terminal of the world, which user types to, and waits
// for its end, or ctx's, when the terminal is hung up. What is shown is also the
// command's output.
func (o *Watch) Shell(ctx context.Context, user live.Terminal, args, env []string, dir string) model.CommandResult {
	began := time.Now()
	path := filepath.Join(o.world.Dir, "output", fmt.Sprintf("command-shell-%d.log", began.UnixNano()))
	c := &command{output: path, done: make(chan struct{})}
	if err := o.converse(ctx, user, c, args, env, dir); err != nil {
		return model.CommandResult{Err: err.Error()}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	result := c.result
	result.Output, result.Cut = tailText(path, tailBytes)
	result.Output = plainText(result.Output)
	result.Duration = time.Since(began)
	return result
}

func (o *Watch) converse(ctx context.Context, user live.Terminal, c *command, args, env []string, dir string) error {
	log, err := os.OpenFile(c.output, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	master, slave, err := o.world.Terminal()
	if err != nil {
		return err
	}
	defer master.Close()
	session, err := user.Attach(func(s live.Size) { setSize(master, s) })
	if err != nil {
		_ = slave.Close()
		return err
	}
	o.mu.Lock()
	id, err := o.world.Init().Shell(args, env, dir, slave)
	if err == nil {
		o.commands[id] = c
	}
	o.mu.Unlock()
	_ = slave.Close() // the world has it: when all of it have ended, reads of the master fail
	var copying sync.WaitGroup
	if err == nil {
		carry(ctx, session, master, log, c, &copying)
	}
	// What can fail is only that the user's terminal is gone.
	_ = session.Detach()
	copying.Wait()
	return err
}

// carry copies bytes both ways until the command has ended, or ctx. What still
// copies, to a terminal that takes nothing, ends with the session.
func carry(ctx context.Context, session live.Session, master *os.File, log io.Writer, c *command, copying *sync.WaitGroup) {
	shown, gone := make(chan struct{}), make(chan struct{})
	copying.Go(func() {
		defer close(shown)
		_, _ = io.Copy(io.MultiWriter(log, session), master)
		if ctx.Err() != nil {
			_, _ = io.WriteString(session, "\r\npilot: the shell is ended\r\n")
		}
	})
	copying.Go(func() {
		defer close(gone)
		_, _ = io.Copy(master, session)
	})
	select {
	case <-c.done:
		_ = master.SetDeadline(time.Now().Add(lastWords))
		select {
		case <-shown:
			return
		case <-ctx.Done():
		}
	case <-ctx.Done():
	case <-gone: // the user's terminal is: as when a line is dropped
	}
	_ = master.SetDeadline(time.Now())
	select {
	case <-shown:
	case <-time.After(stuck):
	}
}

// setSize tells the world's terminal how large the user's is.
func setSize(master *os.File, s live.Size) {
	raw, err := master.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = sys.SetTerminalSize(sys.FD(fd), s.Rows, s.Cols) })
}
