package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
)

const hushed = "hunter2"

// TestSecretsAreMasked looks for a password in everything that pilot writes.
func TestSecretsAreMasked(t *testing.T) {
	e := cluster()
	e.found["etcd"][0].Args = []string{"etcd", "--password", hushed}
	e.diagnoses = []model.Diagnosis{{Member: e.found["etcd"][0], Objects: []model.Object{}, Refusals: []model.Refusal{}, Gaps: []model.Gap{}}}
	b := newBench(t, e)
	file := filepath.Join(b.dir, "r.html")
	for _, args := range []string{
		"run --match etcd -- true DB_PASSWORD=" + hushed,
		"run --json --match etcd -- true --token " + hushed,
		"run -o html --html " + file + " --match etcd -- true https://u:" + hushed + "@h/",
		"report", "report -o json", "report -o html", "report --html " + file, "ps", "ps -o json", "doctor etcd", "doctor -o json etcd",
		"run --match etcd -- /no/such/DB_PASSWORD=" + hushed,
	} {
		_, stdout, stderr := b.run(words(args)...)
		if strings.Contains(stdout+stderr, hushed) {
			t.Errorf("%s: stdout\n%s\nstderr\n%s", args, stdout, stderr)
		}
		if !strings.Contains(stdout+stderr, "***") && !strings.HasSuffix(args, file) && !strings.HasPrefix(args, "doctor etcd") {
			t.Errorf("%s: nothing is masked: stdout\n%s\nstderr\n%s", args, stdout, stderr)
		}
	}
	if text, err := os.ReadFile(file); err != nil || strings.Contains(string(text), hushed) || !strings.Contains(string(text), "***") {
		t.Errorf("the page has a password, or no mark, or: %v", err)
	}
}

// TestUnmask shows what is stored: the report has all, for its owner only.
func TestUnmask(t *testing.T) {
	b := newBench(t, cluster())
	action := " -- true DB_PASSWORD=" + hushed
	for _, flags := range []string{"--unmask", "--unmask -o json", "--unmask -o html"} {
		if out := b.want(0, words("run "+flags+" --match etcd"+action)); !strings.Contains(out, hushed) {
			t.Errorf("run %s: got %s", flags, out)
		}
		if out := b.want(0, words("report "+flags)); !strings.Contains(out, hushed) {
			t.Errorf("report %s: got %s", flags, out)
		}
	}
	stored, err := filepath.Glob(filepath.Join(b.env["XDG_STATE_HOME"], "pilot", "runs", "*", "report.json"))
	if err != nil || len(stored) != 3 {
		t.Fatalf("%v, %v", stored, err)
	}
	text, err := os.ReadFile(stored[0])
	if info, serr := os.Stat(stored[0]); err != nil || serr != nil || !strings.Contains(string(text), hushed) || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v, %v", err, serr, info.Mode())
	}
}

func TestPages(t *testing.T) {
	b := newBench(t, cluster())
	file := filepath.Join(b.dir, "page.html")
	if out := b.want(0, words("run --html "+file+" --match etcd -- true"), "pilot: wrote "+file+"\n"); !strings.HasPrefix(out, "PASS") {
		t.Errorf("got %s", out)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if out := b.want(0, words("report --html "+file), "pilot: wrote"); out != "" {
		t.Errorf("got %s", out)
	}
	page, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(page), "<!DOCTYPE html>") {
		t.Errorf("%.40s, %v", page, err)
	}
	if out := b.want(0, words("report -o html")); out != string(page) {
		t.Error("-o html is another page than --html")
	}
	if out := b.want(0, words("report --html "+file+" -o text")); !strings.HasPrefix(out, "PASS") {
		t.Errorf("got %s", out)
	}
	b.want(ExitError, words("report --html "+b.dir), "pilot: error: write page: open "+b.dir+": is a directory")
	// The verdict is shown, even if its page cannot be written.
	if out := b.want(ExitError, words("run --html "+b.dir+" --match etcd -- true"), "is a directory"); !strings.HasPrefix(out, "PASS") {
		t.Errorf("got %s", out)
	}
	b.want(ExitUsage, words("ps -o html"), `-o: "html" is not text or json`)
}
