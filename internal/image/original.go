//go:build linux

package image

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// An Original is a regular file as the image has it.
type Original struct {
	Path string // in the source
	Size int64

	object string
}

// Open opens it for reading. It can be opened until the image is removed.
func (o Original) Open() (*os.File, error) {
	f, err := os.Open(o.object)
	if err != nil {
		return nil, fmt.Errorf("open image of %s: %w", o.Path, hide(err))
	}
	return f, nil
}

// Originals lists the regular files of a frozen image of which a world was made.
func (im *Image) Originals() (out []Original) {
	for i, t := range im.manifest {
		for _, e := range t {
			if e.ino.fi.Type() == syscall.S_IFREG {
				out = append(out, Original{Path: join(im.roots[i], e.rel), Size: e.ino.fi.Size, object: e.ino.object})
			}
		}
	}
	return out
}

// Copy is the path of the tree's copy of a path in the sources, or empty.
func (t *Tree) Copy(path string) string {
	for _, r := range t.Roots {
		if path == r.Source {
			return r.Path
		}
		if rel, ok := strings.CutPrefix(path, r.Source+"/"); ok {
			return filepath.Join(r.Path, rel)
		}
	}
	return ""
}
