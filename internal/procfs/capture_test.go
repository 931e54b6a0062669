package procfs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const captures = "testdata/linux-6.18"

// captured returns a file of testdata.
func captured(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(captures, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// parse parses a file of testdata.
func parse[T any](t testing.TB, name string, f func([]byte) (T, error)) T {
	t.Helper()
	val, err := f(captured(t, name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return val
}

// refuses fails t for each text that f accepts.
func refuses[T any](t *testing.T, f func([]byte) (T, error), texts ...string) {
	t.Helper()
	for _, text := range texts {
		if val, err := f([]byte(text)); err == nil {
			t.Errorf("%q: no error, but %+v", text, val)
		}
	}
}

// fuzz feeds f with what is captured under the patterns, and with what the
// fuzzer makes of it. Parsers must not panic, and leave their input alone.
func fuzz[T any](f *testing.F, parse func([]byte) (T, error), patterns ...string) {
	for _, pattern := range patterns {
		names, err := filepath.Glob(filepath.Join(captures, pattern))
		if err != nil || len(names) == 0 {
			f.Fatalf("%s: no captures (%v)", pattern, err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text[:min(len(text), 16<<10)])
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := string(text)
		_, _ = parse(text)
		if string(text) != before {
			t.Fatal("the input was changed")
		}
	})
}

func FuzzMaps(f *testing.F)      { fuzz(f, ParseMaps, "*/maps") }
func FuzzSmaps(f *testing.F)     { fuzz(f, ParseSmaps, "*/smaps") }
func FuzzStatus(f *testing.F)    { fuzz(f, ParseStatus, "*/status") }
func FuzzStat(f *testing.F)      { fuzz(f, ParseStat, "*/stat") }
func FuzzStrings(f *testing.F)   { fuzz(f, ParseStrings, "*/cmdline") }
func FuzzTimers(f *testing.F)    { fuzz(f, ParseTimers, "*/timers") }
func FuzzFDInfo(f *testing.F)    { fuzz(f, ParseFDInfo, "*/fdinfo/*") }
func FuzzInet(f *testing.F)      { fuzz(f, ParseInet, "*/net/tcp*", "*/net/udp*") }
func FuzzNetUnix(f *testing.F)   { fuzz(f, ParseNetUnix, "*/net/unix") }
func FuzzNetlink(f *testing.F)   { fuzz(f, ParseNetlink, "*/net/netlink") }
func FuzzMountinfo(f *testing.F) { fuzz(f, ParseMountinfo, "*/mountinfo") }
func FuzzChildren(f *testing.F)  { fuzz(f, parseChildren, "*/cmdline") }

func FuzzNamespace(f *testing.F) {
	for _, link := range []string{"net:[4026531840]", "time_for_children:[4026531834]", "x:[", "]["} {
		f.Add(link)
	}
	f.Fuzz(func(t *testing.T, link string) {
		if n, err := ParseNamespace(link); err == nil && !strings.HasSuffix(link, fmt.Sprintf("%d]", n)) {
			t.Errorf("%q is %d", link, n)
		}
	})
}

// TestEveryParserIsFuzzed wants a fuzz target for each exported parser, and for
// the others that take a whole file.
func TestEveryParserIsFuzzed(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	parsers, used := map[string]bool{}, map[string]bool{}
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			switch {
			case !ok:
			case strings.HasPrefix(f.Name.Name, "Fuzz"):
				ast.Inspect(f, func(n ast.Node) bool {
					if id, ok := n.(*ast.Ident); ok {
						used[id.Name] = true
					}
					return true
				})
			case strings.HasPrefix(f.Name.Name, "Parse"), f.Name.Name == "parseChildren", f.Name.Name == "appendNumbers":
				parsers[f.Name.Name] = true
			}
		}
	}
	if len(parsers) < 13 {
		t.Fatalf("found only %v", parsers)
	}
	for name := range parsers {
		if !used[name] {
			t.Errorf("%s is not fuzzed", name)
		}
	}
}
