//go:build linux

package image

import (
	"io"
	"os"
	"path/filepath"
	"testing"
)

// TestOriginals: what the image has can be read beside what became of it in a
// world, and in the source, on every file system.
func TestOriginals(t *testing.T) {
	for _, fs := range fileSystems(t) {
		t.Run(fs.name, func(t *testing.T) {
			dir := fs.dir(t)
			source := filepath.Join(dir, "source")
			must(t, os.Mkdir(source, 0o755))
			must(t, os.Mkdir(source+"/sub", 0o755))
			write(t, source+"/sub/log", "one two")
			write(t, source+"/empty", "")
			must(t, os.Symlink("empty", source+"/link"))
			im, err := Prepare(t.Context(), filepath.Join(dir, "image"), []string{source})
			must(t, err)
			defer func() { must(t, im.Remove()) }()
			must(t, im.Freeze(t.Context(), nil, nil))
			tree, err := im.World(t.Context(), filepath.Join(dir, "world"))
			must(t, err)
			write(t, tree.Copy(source+"/sub/log"), "one")
			write(t, source+"/sub/log", "one two three")
			got := map[string]string{}
			for _, o := range im.Originals() {
				f, err := o.Open()
				must(t, err)
				text, err := io.ReadAll(f)
				must(t, err)
				must(t, f.Close())
				if int64(len(text)) != o.Size {
					t.Errorf("%s: %d bytes, said to be %d", o.Path, len(text), o.Size)
				}
				got[o.Path] = string(text)
			}
			if len(got) != 2 || got[source+"/sub/log"] != "one two" || got[source+"/empty"] != "" {
				t.Errorf("got %q", got)
			}
			if text, err := os.ReadFile(tree.Copy(source + "/sub/log")); err != nil || string(text) != "one" {
				t.Errorf("%q %v", text, err)
			}
			if tree.Copy(source) == "" || tree.Copy(dir+"/other") != "" || tree.Copy(source+"x") != "" {
				t.Error("a path outside of the sources has no copy")
			}
		})
	}
}
