package drift

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// sample is the fingerprint of a cluster with one node down. Each call makes
// another copy.
func sample() Fingerprint {
	at := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	file := func(path string, inode uint64) File {
		return File{Path: path, Dev: 1, Inode: inode, Size: 10, Mode: "-rwxr-xr-x", Mtime: at, Sum: strings.Repeat("ab", 32)}
	}
	config := file("/c/pilot.yaml", 9)
	up := Member{Name: "e1", PID: 11, Start: 100, Stack: 0x7ff, Running: File{Path: "/e", Dev: 1, Inode: 5, Size: 10, Mtime: at}, Program: file("/e", 5),
		Args: []string{"e", "--name=e1"}, UIDs: []int{1, 1, 1, 1}, GIDs: []int{2, 2, 2, 2}, Groups: []int{3}, Spaces: map[string]uint64{"mnt": 7, "net": 8}}
	return Fingerprint{Version: Version, Boot: "b", Host: "h", Dir: "/d", Place: File{Path: "/d", Dev: 1, Inode: 2, Mode: "drwxr-xr-x", Mtime: at},
		Members: []Member{up, {Name: "e3", Args: []string{"e", "--name=e3"}, Data: "4 files"}},
		Action:  []string{"/bin/sh", "r.sh"}, Files: []File{file("/bin/sh", 3), file("/d/r.sh", 4)}, Config: &config,
		Roles: []string{"leader e1", "member e1"}}
}

// TestCompare changes one thing after the other, each of which must be told in
// one line.
func TestCompare(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(f *Fingerprint)
		want   string // parts of the one line, in their order; empty for none
	}{
		{"nothing", func(f *Fingerprint) {}, ""},
		{"another boot", func(f *Fingerprint) { f.Boot, f.Members = "c", nil }, "the host: was h, boot b, is h, boot c: pilot it again"},
		{"restarted", func(f *Fingerprint) { f.Members[0].PID, f.Members[0].Start = 12, 200 }, "member e1: was up as pid 11, started at tick 100, is up as pid 12, started at tick 200: pilot it again"},
		{"the pid is another's", func(f *Fingerprint) { f.Members[0].Start = 101 }, "member e1: was up|tick 101"},
		{"gone", func(f *Fingerprint) { f.Members[0].Gone = "no such process" }, "member e1: was up as pid 11|is gone (no such process): pilot it again"},
		{"not found", func(f *Fingerprint) { f.Members = f.Members[1:] }, "member e1: was up|is no member"},
		{"a new one", func(f *Fingerprint) { f.Members = append(f.Members, Member{Name: "e4", PID: 14, Start: 4}) }, "member e4: was no member, is up as pid 14"},
		{"came up", func(f *Fingerprint) { f.Members[1] = Member{Name: "e3", PID: 13, Start: 9} }, "member e3: was down, is up as pid 13"},
		{"came up by other means", func(f *Fingerprint) { f.Members[1].Up = []string{"pid 13 (e)"} }, "member e3: was down, is up as pid 13 (e)"},
		{"went down", func(f *Fingerprint) { f.Members[0] = Member{Name: "e1"} }, "member e1: was up|is down"},
		{"data of one down", func(f *Fingerprint) { f.Members[1].Data = "3 files" }, "member e3: data: was 4 files, is 3 files"},
		{"command of one down", func(f *Fingerprint) { f.Members[1].Args = []string{"x"} }, `member e3: command: was ["e" "--name=e3"], is ["x"]`},
		{"another program", func(f *Fingerprint) { f.Members[0].Running.Inode = 6 }, "member e1 (pid 11): executes: was|inode 5|is|inode 6"},
		{"executed again", func(f *Fingerprint) { f.Members[0].Stack++ }, "member e1 (pid 11): program: was executed once, is executed again"},
		{"upgraded", func(f *Fingerprint) { f.Members[0].Program.Sum = strings.Repeat("cd", 32) }, "member e1 (pid 11): program /e: was|sha256 abababababab|is|sha256 cdcdcdcdcdcd"},
		{"title", func(f *Fingerprint) { f.Members[0].Args = []string{"e"} }, "command line: was"},
		{"user", func(f *Fingerprint) { f.Members[0].UIDs = []int{0, 0, 0, 0} }, "user: was uids [1 1 1 1]|is uids [0 0 0 0]"},
		{"group", func(f *Fingerprint) { f.Members[0].Groups = nil }, "user: was"},
		{"namespace", func(f *Fingerprint) { f.Members[0].Spaces["net"] = 99 }, "member e1 (pid 11): net namespace: was 8, is 99"},
		{"script", func(f *Fingerprint) { f.Files[1].Sum = strings.Repeat("cd", 32) }, "/d/r.sh: was|is|pilot it again"},
		{"script without its bit", func(f *Fingerprint) { f.Files[1].Mode = "-rw-r--r--" }, "/d/r.sh: was 10 bytes -rwxr-xr-x|is 10 bytes -rw-r--r--"},
		{"script gone", func(f *Fingerprint) { f.Files[1] = File{Path: "/d/r.sh"} }, "/d/r.sh: was 10 bytes|is not there"},
		{"script no more found", func(f *Fingerprint) { f.Files = f.Files[:1] }, "/d/r.sh: was 10 bytes|not named"},
		{"a file that was not there", func(f *Fingerprint) { f.Files = append(f.Files, File{Path: "/d/x", Inode: 8}) }, "/d/x: was not there, is"},
		{"unreadable", func(f *Fingerprint) { f.Files[1] = File{Path: "/d/r.sh", Err: "denied"} }, "is unreadable (denied)"},
		{"the same text written again", func(f *Fingerprint) { f.Files[1].Inode, f.Files[1].Mtime = 44, time.Now() }, ""},
		{"a large file written", func(f *Fingerprint) { f.Files[1].Sum, f.Files[1].Mtime = "", time.Now() }, "/d/r.sh: was"},
		{"directory", func(f *Fingerprint) { f.Place.Inode = 3 }, "working directory /d: was inode 2|is inode 3"},
		{"a file in the directory", func(f *Fingerprint) { f.Place.Mtime, f.Place.Size = time.Now(), 99 }, ""},
		{"pilot.yaml", func(f *Fingerprint) { f.Config.Sum = "x" }, "/c/pilot.yaml: was"},
		{"no pilot.yaml", func(f *Fingerprint) { f.Config = nil }, "/c/pilot.yaml: was|is not found"},
		{"leader", func(f *Fingerprint) { f.Roles[0] = "leader e2" }, `leader and members: was "leader e1", is "leader e2": pilot it again`},
		{"a member less", func(f *Fingerprint) { f.Roles = f.Roles[:1] }, `leader and members: was "member e1", is not so`},
		{"nobody answers", func(f *Fingerprint) { f.Roles, f.RolesErr = nil, "no server says" }, `leader and members: was "leader e1; member e1", is unknown (no server says)`},
		{"another environment or user", func(f *Fingerprint) { f.Env, f.UID = []string{"A=b"}, 7 }, ""}, // the old one is used
	} {
		now := sample()
		c.change(&now)
		got := Compare(sample(), now)
		if c.want == "" {
			if len(got) > 0 {
				t.Errorf("%s: got %v", c.name, got)
			}
			continue
		}
		if len(got) != 1 {
			t.Errorf("%s: %d changes: %v", c.name, len(got), got)
			continue
		}
		rest := got[0].String()
		for part := range strings.SplitSeq(c.want, "|") {
			_, after, ok := strings.Cut(rest, part)
			if !ok {
				t.Errorf("%s: %q lacks %q", c.name, got[0], part)
			}
			rest = after
		}
		if strings.Contains(got[0].String(), "\n") || got[0].Next == "" {
			t.Errorf("%s: %q", c.name, got[0])
		}
	}
}

// TestEveryChangeIsTold has several at once.
func TestEveryChangeIsTold(t *testing.T) {
	now := sample()
	now.Members[0].Start++
	now.Files[1].Sum = "x"
	now.Roles = nil
	if got := Compare(sample(), now); len(got) != 3 {
		t.Errorf("got %v", got)
	}
}

func TestFingerprintCanBeReadBack(t *testing.T) {
	text, err := json.Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	var back Fingerprint
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if got := Compare(sample(), back); len(got) > 0 || !slices.Equal(back.Action, sample().Action) {
		t.Errorf("got %v", got)
	}
}
