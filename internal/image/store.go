//go:build linux

package image

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/pilotexec/pilot/internal/sys"
)

// A store is where copies are kept of what lies on one file system. Blocks can
// be shared only within a file system, so there is one on each that can share,
// next to the image's own directory.
type store struct {
	// dir holds the objects, and may be used for worlds. It is empty where no
	// directory of the file system lies outside of the sources.
	dir string
	// top is a directory of a source then: objects are files without a name of
	// its file system, which nobody sees and which end with this process.
	top sys.FD

	mu    sync.Mutex // guards what follows
	kept  []sys.FD   // those files
	count int        // objects made
	// snapshots counts the names given to some.
	snapshots int
}

const (
	storePrefix = "pilot-image-"
	// recordName is a file in the image's directory that lists the stores
	// outside of it, so that they are found when this process was killed.
	recordName = "stores"
	// scratchDir is preferred to a directory next to the sources.
	scratchDir = "/var/tmp"
)

// newObject makes an empty file.
func (s *store) newObject() (path string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == "" {
		return s.newUnnamed()
	}
	dir := filepath.Join(s.dir, fmt.Sprintf("%06d", s.count>>10)) // of 1024
	if s.count&1023 == 0 {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return "", err
		}
	}
	path = filepath.Join(dir, fmt.Sprintf("%04d", s.count&1023))
	fd, err := sys.OpenAt(atCWD, path, syscall.O_CREAT|syscall.O_EXCL|syscall.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	s.count++
	return path, fd.Close()
}

// spare is how many descriptors stay for all else.
const spare = 4096

func (s *store) newUnnamed() (string, error) {
	if uint64(len(s.kept)+spare) > sys.OpenLimit() {
		return "", fmt.Errorf("%d files need a descriptor each, the limit is %d: %w", len(s.kept), sys.OpenLimit(), ErrRefused)
	}
	fd, err := sys.OpenUnnamed(procFile(s.top))
	if err != nil {
		return "", err
	}
	s.kept = append(s.kept, fd)
	return procFile(fd), nil
}

// path is one of its file system, for statfs.
func (s *store) path() string {
	if s.dir == "" {
		return procFile(s.top)
	}
	return s.dir
}

// drop removes an object, which only costs space: errors are left to remove.
func (s *store) drop(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir != "" {
		_ = os.Remove(path)
		return
	}
	if i := slices.IndexFunc(s.kept, func(fd sys.FD) bool { return procFile(fd) == path }); i >= 0 {
		_ = s.kept[i].Close()
		s.kept = slices.Delete(s.kept, i, i+1)
	}
}

func (s *store) remove() error {
	if s.dir != "" {
		return erase(s.dir)
	}
	errs := []error{s.top.Close()}
	for _, fd := range s.kept {
		errs = append(errs, fd.Close())
	}
	return errors.Join(errs...)
}

// procFile is a path to what fd refers to, in this process.
func procFile(fd sys.FD) string { return "/proc/self/fd/" + strconv.Itoa(int(fd)) }

// sharing finds or makes the store that can share blocks with the file system
// of the directory dir, by sharing some. It returns nil and why when there is
// none. root is the path of the source that dir lies in.
func (im *Image) sharing(dir, root string) (*store, string, error) {
	probe, err := sys.OpenUnnamed(dir)
	if err != nil {
		return nil, "it cannot be tried: " + causeOf(err), nil
	}
	defer probe.Close()
	if _, err := sys.Pwrite(probe, make([]byte, 4096), 0); err != nil {
		return nil, "it cannot be tried: " + causeOf(err), nil
	}
	for _, s := range im.stores {
		if shares(s.path(), probe) == nil {
			return s, "", nil
		}
	}
	if err := shares(dir, probe); err != nil {
		return nil, "no reflink: " + causeOf(err), nil
	}
	if !im.nameless {
		if at := im.outside(probe, root); at != "" {
			s, err := im.newStore(at)
			return s, "", err
		}
	}
	top, err := sys.OpenAt(atCWD, dir, syscall.O_DIRECTORY|syscall.O_RDONLY, 0)
	if err != nil {
		return nil, "", err
	}
	s := &store{top: top}
	im.stores = append(im.stores, s)
	return s, "", nil
}

// shares tries to share the blocks of probe with a file in dir.
func shares(dir string, probe sys.FD) error {
	fd, err := sys.OpenUnnamed(dir)
	if err != nil {
		return err
	}
	return errors.Join(share(fd, probe), fd.Close())
}

// outside returns the highest directory above root that can share with probe,
// so that the store is not in the middle of some program's files.
func (im *Image) outside(probe sys.FD, root string) (best string) {
	if !slices.ContainsFunc(im.roots, func(r string) bool { return below(scratchDir, r) }) && shares(scratchDir, probe) == nil {
		return scratchDir
	}
	for dir := filepath.Dir(root); shares(dir, probe) == nil; dir = filepath.Dir(dir) {
		if best = dir; dir == "/" {
			break
		}
	}
	return best
}

// newStore makes a store in directory dir, and first a record of it.
func (im *Image) newStore(dir string) (*store, error) {
	s := &store{dir: filepath.Join(dir, storePrefix+rand.Text())}
	f, err := os.OpenFile(filepath.Join(im.dir, recordName), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString(s.dir + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return nil, err
	}
	im.stores = append(im.stores, s)
	return s, os.Mkdir(s.dir, 0o700)
}

// Sweep erases what an image in dir, whose process died, has left, dir itself
// and what lies elsewhere.
func Sweep(dir string) error {
	f, err := os.Open(filepath.Join(dir, recordName))
	if err == nil {
		defer f.Close()
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			// A line that was cut off, or a file that is not ours, must not
			// lead to somebody's data.
			if path := lines.Text(); strings.HasPrefix(filepath.Base(path), storePrefix) {
				err = errors.Join(err, erase(path))
			}
		}
		err = errors.Join(err, lines.Err())
	} else if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("sweep image: %w", err) // the record stays
	}
	return erase(dir)
}

// causeOf is the errno of err, for a sentence.
func causeOf(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}
