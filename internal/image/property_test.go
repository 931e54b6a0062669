//go:build linux

package image

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func procFD(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// TestRandomWriter is the property that the package exists for: whatever was
// written while an image was made, a world equals the source at the freeze.
// PILOT_IMAGE_ROUNDS sets how often; PILOT_IMAGE_SEED repeats one round, as far
// as threads can be repeated.
func TestRandomWriter(t *testing.T) {
	rounds := 120 // shared by the file systems
	if testing.Short() {
		rounds = 20
	}
	if n, err := strconv.Atoi(os.Getenv("PILOT_IMAGE_ROUNDS")); err == nil {
		rounds = n
	}
	seed := uint64(time.Now().UnixNano())
	if n, err := strconv.ParseUint(os.Getenv("PILOT_IMAGE_SEED"), 10, 64); err == nil {
		seed, rounds = n, 1
	}
	list := fileSystems(t)
	for _, fs := range list {
		t.Run(fs.name, func(t *testing.T) {
			for i := range (rounds + len(list) - 1) / len(list) {
				s := seed + uint64(i)
				if !t.Run(strconv.FormatUint(s, 10), func(t *testing.T) { randomRound(t, fs, s) }) {
					t.Fatalf("repeat with PILOT_IMAGE_SEED=%d", s)
				}
			}
		})
	}
}

// startVictim returns a process that writes to dir. The caller kills it.
func startVictim(t *testing.T, dir string, seed uint64) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", victimEnv, dir, seed))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	_, err = out.Read(make([]byte, 1)) // its end says that the victim is ready
	if err == nil {
		t.Error("the victim printed something")
	}
	return cmd
}

// stop stops all threads of the victim.
func stop(t *testing.T, pid int) {
	t.Helper()
	must(t, syscall.Kill(pid, syscall.SIGSTOP))
	var ws syscall.WaitStatus
	for {
		_, err := syscall.Wait4(pid, &ws, syscall.WUNTRACED, nil)
		if err == syscall.EINTR {
			continue
		}
		must(t, err)
		if !ws.Stopped() {
			t.Fatalf("the victim ended: %#x", ws)
		}
		return
	}
}

// held returns what the stopped victim has mapped writable, and the files
// without a name that it has open.
func held(t *testing.T, pid int) (writable []string, deleted map[string]string) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	must(t, err)
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 6)
		if fields[1] == "rw-s" {
			writable = append(writable, strings.TrimLeft(fields[5], " "), fmt.Sprintf("/proc/%d/map_files/%s", pid, fields[0]))
		}
	}
	deleted = map[string]string{}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	must(t, err)
	for _, fd := range fds {
		path := fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name())
		target, err := os.Readlink(path)
		must(t, err)
		fi, err := os.Stat(path)
		must(t, err)
		if fi.Mode().IsRegular() && strings.HasSuffix(target, " (deleted)") {
			deleted[path] = fd.Name()
		}
	}
	return writable, deleted
}

func randomRound(t *testing.T, fs testFS, seed uint64) {
	ctx := context.Background()
	base := fs.dir(t)
	src := filepath.Join(base, "src")
	r := rand.New(rand.NewPCG(seed, 1000))
	fs.source(t, r, src)
	must(t, os.MkdirAll(filepath.Join(src, "d0", "e"), 0o755))
	victim := startVictim(t, src, seed)
	end := sync.OnceFunc(func() {
		must(t, victim.Process.Kill())
		_ = victim.Wait() // killed
	})
	defer end()
	c := Config{Dir: filepath.Join(base, "image"), Sources: []string{src}, Nameless: r.IntN(4) == 0, TrackFrom: 1}
	if r.IntN(2) == 0 { // on another file system, with luck
		c.Dir = filepath.Join(t.TempDir(), "image")
	}
	im, err := c.Prepare(ctx)
	must(t, err)
	removed := false
	defer func() {
		if !removed {
			must(t, im.Remove())
		}
	}()
	for range r.IntN(3) {
		must(t, im.Settle(ctx))
	}
	time.Sleep(time.Duration(r.IntN(2000)) * time.Microsecond)

	pid := victim.Process.Pid
	stop(t, pid)
	writable, deleted := held(t, pid)
	before := remember(t, src)
	unnamed := map[string]string{}
	for path, key := range deleted {
		unnamed[key] = digest(t, path)
	}
	must(t, im.Freeze(ctx, writable, func() map[string]string { return deleted }))
	mustMatch(t, "Freeze changed the source", before, remember(t, src))
	if r.IntN(3) > 0 { // production goes on
		must(t, syscall.Kill(pid, syscall.SIGCONT))
	}
	for _, name := range []string{"trial", "control"} {
		tree, err := im.World(ctx, filepath.Join(filepath.Dir(c.Dir), name))
		must(t, err)
		if len(tree.Lost) > 0 {
			t.Errorf("lost: %v", tree.Lost)
		}
		for key, sum := range unnamed {
			if got := digest(t, tree.Deleted[key]); got != sum {
				t.Errorf("deleted file %s: digest %s, want %s", key, got, sum)
			}
		}
		mustMatch(t, "the world is not as the source was", before, remember(t, tree.Roots[0].Path))
		changes, err := im.Diff(ctx, tree)
		must(t, err)
		if len(changes) > 0 {
			t.Errorf("an untouched world differs: %v", changes)
		}
		files := spoil(t, tree.Roots[0].Path)
		changes, err = im.Diff(ctx, tree)
		must(t, err)
		if len(changes) != files {
			t.Errorf("%d changes, want one for each of %d files: %v", len(changes), files, changes)
		}
	}
	removed = true
	end()
	must(t, im.Remove())
	if left, err := filepath.Glob(filepath.Join(fs.top, storePrefix+"*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	must(t, erase(src))
	must(t, os.RemoveAll(base))
}

// spoil overwrites every file, and returns how many: another world must not see
// it.
func spoil(t *testing.T, dir string) (files int) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			files++
			err = os.WriteFile(path, []byte("spoilt"), 0)
		}
		return err
	}))
	return files
}
