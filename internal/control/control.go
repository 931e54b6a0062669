// Package control is the socket by which users speak to a run that goes on: one
// line of JSON each way, a [live.Request] and a [live.Answer].
//
// The socket is in the run's directory, which is its owner's only. Whoever
// speaks must be the same user as the run's, or root.
package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pilotexec/pilot/internal/live"
)

// name is the socket's in the run's directory.
const name = "control"

// How long a line may be, and how long it may take.
const (
	mostRequest = 4 << 10
	mostAnswer  = 1 << 20
	patience    = 30 * time.Second
)

// ErrNobody is returned when no run listens in a directory.
var ErrNobody = errors.New("no run listens")

// A Server is a run's end.
type Server struct {
	listener *net.UnixListener
	dir      *os.File
	path     string
	answer   func(live.Request) live.Answer
	ctx      context.Context // ends with the server
	cancel   context.CancelFunc
	wg       sync.WaitGroup
}

// Listen answers what is asked at the socket in dir until Close. answer is called
// by several goroutines.
func Listen(dir string, answer func(live.Request) live.Answer) (*Server, error) {
	d, short, err := shorten(dir)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	s := &Server{dir: d, path: filepath.Join(dir, name), answer: answer}
	s.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
	if err != nil {
		_ = d.Close()
		return nil, fmt.Errorf("control socket: %w", err)
	}
	// Not by the short path, and before the directory is closed: Close does it.
	s.listener.SetUnlinkOnClose(false)
	// The directory keeps others out until this is done, and the check of who
	// speaks does so after it.
	if err := os.Chmod(s.path, 0o600); err != nil {
		return nil, fmt.Errorf("control socket: %w", errors.Join(err, s.listener.Close(), os.Remove(s.path), d.Close()))
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.wg.Go(s.serve)
	return s, nil
}

// Close ends the listening, and waits for answers that are under way.
func (s *Server) Close() error {
	s.cancel()
	errs := []error{s.listener.Close(), os.Remove(s.path)}
	s.wg.Wait()
	return errors.Join(append(errs, s.dir.Close())...)
}

func (s *Server) serve() {
	for {
		conn, err := s.listener.AcceptUnix()
		if err != nil {
			if s.ctx.Err() != nil {
				return
			}
			select { // out of descriptors, perhaps
			case <-s.ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		s.wg.Go(func() {
			_ = conn.SetDeadline(time.Now().Add(patience))
			stop := context.AfterFunc(s.ctx, func() { _ = conn.SetReadDeadline(time.Now()) })
			defer stop()
			defer conn.Close()
			_ = json.NewEncoder(conn).Encode(s.talk(conn))
		})
	}
}

// talk reads one request and does it.
func (s *Server) talk(conn *net.UnixConn) live.Answer {
	if err := checkPeer(conn); err != nil {
		return live.Answer{Error: err.Error()}
	}
	var r live.Request
	if err := readLine(conn, mostRequest, &r); err != nil {
		return live.Answer{Error: "read request: " + err.Error()}
	}
	return s.answer(r)
}

// checkPeer refuses who is neither this user nor root.
func checkPeer(conn *net.UnixConn) error {
	uid, err := peerUID(conn)
	if err != nil {
		return fmt.Errorf("who speaks: %w", err)
	}
	return allow(uid, os.Geteuid())
}

func allow(uid, own int) error {
	if uid != own && uid != 0 {
		return fmt.Errorf("user %d may not steer a run of user %d", uid, own)
	}
	return nil
}

// Ask asks the run in dir.
func Ask(ctx context.Context, dir string, r live.Request) (a live.Answer, err error) {
	d, short, err := shorten(dir)
	if err != nil {
		return a, fmt.Errorf("ask the run: %w", err)
	}
	defer d.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", short)
	if err != nil {
		if ctx.Err() == nil {
			err = ErrNobody // not there, or nobody has it open
		}
		return a, fmt.Errorf("ask the run: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	if err := json.NewEncoder(conn).Encode(r); err != nil {
		return a, fmt.Errorf("ask the run: %w", err)
	}
	if err := readLine(conn, mostAnswer, &a); err != nil {
		return a, fmt.Errorf("ask the run: %w", err)
	}
	return a, a.Err()
}

// Sweep removes the socket of a run in dir that is dead.
func Sweep(dir string) error {
	err := os.Remove(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// readLine decodes the line that comes first.
func readLine(conn net.Conn, most int, v any) error {
	line, err := bufio.NewReaderSize(conn, most).ReadSlice('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, v)
}
