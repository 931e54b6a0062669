//go:build linux

package unwind

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// TestGoroutines compares what is known of this version of Go with what a
// program says of itself, with and without debugging information.
func TestGoroutines(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	want := layoutOf(runtime.Version())
	if want.ID == 0 {
		t.Skipf("%s is not known: what programs say of themselves is all there is", runtime.Version())
	}
	for name, flags := range map[string]string{"described": "", "stripped": "-s -w"} {
		program := filepath.Join(dir, name)
		cmd := exec.CommandContext(t.Context(), "go", "build", "-ldflags", flags, "-o", program, source)
		cmd.Env = append(os.Environ(), "GO111MODULE=off", "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if _, err := described(program); (err == nil) != (name == "described") {
			t.Errorf("%s: %v", name, err)
		}
		if got, ok, err := GoroutinesOf(program); err != nil || !ok || got != want {
			t.Errorf("%s: %+v, %v, %v, want %+v", name, got, ok, err, want)
		}
	}
	if _, ok, err := GoroutinesOf(source); ok || err != nil {
		t.Errorf("no program: %v, %v", ok, err)
	}
}
