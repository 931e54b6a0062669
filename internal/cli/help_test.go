package cli

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestUsage(t *testing.T) {
	b := newBench(t, nil)
	b.want(ExitUsage, nil, "Usage: pilot COMMAND")
	for _, args := range []string{"help", "--help", "-h"} {
		if out := b.want(0, words(args)); !strings.Contains(out, "Usage: pilot COMMAND") {
			t.Errorf("%s: got %s", args, out)
		}
	}
	b.want(ExitUsage, words("rnu"), "pilot: error: unknown command \"rnu\"\npilot: hint: did you mean \"pilot run\"?\n")
	b.want(ExitUsage, words("frobnicate"), "pilot: hint: pilot help lists the commands\n")
	b.want(ExitUsage, words("help frobnicate"), "unknown command")
}

func TestEveryCommandHasHelp(t *testing.T) {
	b := newBench(t, nil)
	for _, c := range commands() {
		byHelp, byFlag := b.want(0, []string{"help", c.name}), b.want(0, []string{c.name, "--help"})
		if byHelp != byFlag || !strings.HasPrefix(byHelp, "Usage: pilot "+c.name) {
			t.Errorf("%s: got %s", c.name, byHelp)
		}
		if c.short == "" || strings.HasSuffix(c.short, ".") {
			t.Errorf("%s: short is %q", c.name, c.short)
		}
		for line := range strings.Lines(byHelp) {
			if len([]rune(line)) > 121 {
				t.Errorf("%s: long line %q", c.name, line)
			}
		}
	}
}

func TestEveryFlagIsDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "cli.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range completions() {
		if !strings.Contains(string(text), "`pilot "+c.name) {
			t.Errorf("docs/cli.md does not tell of pilot %s", c.name)
		}
		for _, f := range c.flags {
			if !strings.Contains(string(text), "`"+dashed(f.Name)) {
				t.Errorf("docs/cli.md does not tell of %s", dashed(f.Name))
			}
		}
	}
}

func TestVersion(t *testing.T) {
	b := newBench(t, nil)
	if out := b.want(0, words("--version")); !strings.HasPrefix(out, "pilot v1 (go") {
		t.Errorf("got %q", out)
	}
	var v struct {
		Version string
		Report  int `json:"report_version"`
	}
	if err := json.Unmarshal([]byte(b.want(0, words("version --json"))), &v); err != nil || v.Version != "v1" || v.Report != 1 {
		t.Errorf("got %+v, %v", v, err)
	}
	b.want(ExitUsage, words("version x"), "takes no operand")
}

func TestCompletionIsSyntax(t *testing.T) {
	b := newBench(t, nil)
	for _, shell := range shells {
		out := b.want(0, []string{"completion", shell})
		for _, want := range []string{"doctor", "max-pause", "completion"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %s", shell, want)
			}
		}
		path, err := exec.LookPath(shell)
		if err != nil {
			continue
		}
		cmd := exec.Command(path, "-n")
		cmd.Stdin = strings.NewReader(out)
		if msg, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", shell, err, msg)
		}
	}
	b.want(ExitUsage, words("completion fihs"), `did you mean "pilot completion fish"?`)
	b.want(ExitUsage, words("completion"), "completion for which shell?")
}

// TestBashCompletes types into the script as bash would.
func TestBashCompletes(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	script := newBench(t, nil).want(0, words("completion bash"))
	for _, tt := range []struct{ typed, want string }{
		{"pilot do", "doctor"},
		{"pilot run --ma", "--match --max-disk --max-io-pressure --max-memory --max-memory-pressure --max-pause"},
		{"pilot completion z", "zsh"},
		{"pilot help ver", "version"},
		{"pilot run -- tru", "true"},
	} {
		cmd := exec.Command(bash, "--norc", "-c", script+`
COMP_WORDS=(`+tt.typed+`); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _pilot; printf '%s\n' "${COMPREPLY[@]}" | sort -u | tr '\n' ' '`)
		out, err := cmd.CombinedOutput()
		if got := " " + string(out); err != nil || !strings.Contains(got, " "+tt.want+" ") {
			t.Errorf("%s: got %q, %v, want %s", tt.typed, got, err, tt.want)
		}
	}
}
