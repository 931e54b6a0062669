package archtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const (
	module   = "github.com/pilotexec/pilot"
	internal = module + "/internal/"
	table    = "internal/archtest/layers_test.go"
)

// A listed package is what `go list -json` tells of one.
type listed struct {
	ImportPath string
	Name       string
	Imports    []string
}

// own returns a package's name below internal, or whether it is another of ours.
func own(importPath string) (name string, ours bool) {
	if name, ok := strings.CutPrefix(importPath, internal); ok {
		return name, true
	}
	return "", importPath == module || strings.HasPrefix(importPath, module+"/")
}

// layerOf finds p in the table.
func layerOf(p listed) (layer, error) {
	name, _ := own(p.ImportPath)
	if name == "" {
		if p.Name == "main" {
			return commands, nil
		}
		return faces, nil // the library for users, above internal
	}
	if l, ok := layers[name]; ok {
		return l, nil
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if l, ok := layers[dir+"/*"]; ok {
			return l, nil
		}
	}
	return 0, fmt.Errorf("%s is in no layer: add it to the table in %s", p.ImportPath, table)
}

// violations returns what is wrong with the graph, in the order of the list.
func violations(all []listed) (out []string) {
	at := map[string]layer{}
	for _, p := range all {
		if _, ours := own(p.ImportPath); !ours {
			continue
		}
		l, err := layerOf(p)
		if err != nil {
			out = append(out, err.Error())
			continue
		}
		at[p.ImportPath] = l
	}
	for _, p := range all {
		from, placed := at[p.ImportPath]
		if !placed {
			continue
		}
		for _, imported := range p.Imports {
			if to, ours := at[imported]; ours {
				out = append(out, wrongWay(p.ImportPath, imported, from, to)...)
			}
			out = append(out, forbidden(p.ImportPath, imported, from)...)
		}
	}
	return out
}

// wrongWay complains of an import that does not go down.
func wrongWay(p, imported string, from, to layer) []string {
	name, _ := own(p)
	other, _ := own(imported)
	switch {
	case to == tests && from != tests:
		return []string{fmt.Sprintf("%s imports %s, which is for tests", p, imported)}
	case to < from:
		return nil
	case to == from && (sideways[[2]string{name, other}] != "" || from == tests):
		return nil
	case to == from:
		return []string{fmt.Sprintf("%s imports %s of its own layer: move one, or say why in %s", p, imported, table)}
	}
	return []string{fmt.Sprintf("%s (layer %d) imports %s (layer %d) above it", p, from, imported, to)}
}

// forbidden complains of an import that few packages may have.
func forbidden(p, imported string, from layer) (out []string) {
	name, _ := own(p)
	if from == decisions && slices.ContainsFunc(impure, func(i string) bool {
		return imported == i || strings.HasPrefix(imported, i+"/")
	}) {
		out = append(out, fmt.Sprintf("%s decides, and imports %s: hand it the facts instead", p, imported))
	}
	allowed, limited := restricted[imported]
	if limited && !slices.Contains(allowed, name) && !slices.Contains(allowed, path.Dir(name)+"/*") {
		out = append(out, fmt.Sprintf("%s imports %s: let internal/sys do it", p, imported))
	}
	return out
}

// goCommand prepares the go command for the module's root and a system.
func goCommand(t *testing.T, goos string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off")
	return cmd
}

// TestGraph lists every package, even where some do not build just now.
func TestGraph(t *testing.T) {
	cmd := goCommand(t, "linux", "list", "-e", "-deps", "-json=ImportPath,Name,Imports", "./...")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []listed
	for in := json.NewDecoder(strings.NewReader(string(text))); ; {
		var p listed
		if err := in.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if !slices.ContainsFunc(all, func(p listed) bool { return p.ImportPath == internal+"model" }) {
		t.Fatalf("go list found %d packages, and not model", len(all))
	}
	for _, v := range violations(all) {
		t.Error(v)
	}
}

// TestPortable builds for another system what must not know Linux.
func TestPortable(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the standard library for another system")
	}
	args := []string{"build"}
	for _, name := range portable {
		if sources, _ := os.ReadDir("../" + name); slices.ContainsFunc(sources, isSource) {
			args = append(args, "./internal/"+name)
		}
	}
	if text, err := goCommand(t, "darwin", args...).CombinedOutput(); err != nil {
		t.Errorf("go build for darwin: %v\n%s", err, text)
	}
}

func isSource(e os.DirEntry) bool {
	return strings.HasSuffix(e.Name(), ".go") && !strings.HasSuffix(e.Name(), "_test.go")
}

// TestViolations shows the rules graphs that break them.
func TestViolations(t *testing.T) {
	pkg := func(name string, imports ...string) listed {
		return listed{ImportPath: internal + name, Name: path.Base(name), Imports: imports}
	}
	model, kobj := pkg("model"), pkg("kobj", "golang.org/x/sys/unix")
	for _, c := range []struct {
		name string
		all  []listed
		want string // part of the one complaint, empty for none
	}{
		{"down", []listed{model, pkg("plan", internal+"model", "strings")}, ""},
		{"up", []listed{kobj, pkg("plan", internal+"kobj")}, "above it"},
		{"sideways", []listed{pkg("tracee"), pkg("netns", internal+"tracee")}, "of its own layer"},
		{"sideways and allowed", []listed{pkg("journal"), pkg("capture", internal+"journal")}, ""},
		{"the other way", []listed{pkg("journal", internal+"capture"), pkg("capture")}, "of its own layer"},
		{"tests of tests", []listed{pkg("victim"), pkg("kindtest", internal+"victim")}, ""},
		{"a product of tests", []listed{pkg("victim"), pkg("agent", internal+"victim")}, "for tests"},
		{"a command of tests", []listed{pkg("victim"), {ImportPath: module + "/cmd/pilot", Name: "main", Imports: []string{internal + "victim"}}}, "for tests"},
		{"unknown", []listed{pkg("helpers", internal+"model"), model}, table},
		{"below a known one", []listed{pkg("model/extra")}, table},
		{"a victim", []listed{pkg("victim/epoll", "unsafe", "golang.org/x/sys/unix")}, ""},
		{"unsafe", []listed{pkg("kobj", "unsafe")}, "imports unsafe"},
		{"x/sys", []listed{pkg("procfs", "golang.org/x/sys/unix")}, "imports golang.org/x/sys/unix"},
		{"a decision that reads", []listed{pkg("verdict", "os/exec")}, "hand it the facts"},
		{"a decision about os", []listed{pkg("verdict", "ostrich")}, ""},
		{"the command", []listed{pkg("agent"), {ImportPath: module + "/cmd/pilot", Name: "main", Imports: []string{internal + "agent"}}}, ""},
		{"the library", []listed{pkg("agent"), {ImportPath: module, Name: "pilot", Imports: []string{internal + "wire"}}, pkg("wire")}, ""},
		{"the library in the agent", []listed{{ImportPath: module, Name: "pilot"}, pkg("agent", module)}, "above it"},
		{"others", []listed{{ImportPath: "unsafe"}, {ImportPath: "os", Imports: []string{"unsafe"}}}, ""},
	} {
		got := violations(c.all)
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
