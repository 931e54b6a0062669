//go:build linux

package kobj

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/kinds.md instead of comparing it")

// facts are what docs/kinds.md says of a kind. A new kind needs an entry.
type facts struct {
	kept, lost string
	tests      []string // in internal/kindtest
}

var kindFacts = map[string]facts{
	"epoll": {
		"interest lists with their events and data: level and edge triggered, one-shot, nested",
		"entries whose descriptor was closed while its object lives on (reported); what is ready is told once more",
		[]string{"TestPrivEpoll"},
	},
	"eventfd":  {"count, semaphore mode", "-", []string{"TestPrivEventfd"}},
	"timerfd":  {"clock, time left, interval, expirations not read", "that setting the wall clock ends it (TFD_TIMER_CANCEL_ON_SET)", []string{"TestPrivTimerfd"}},
	"signalfd": {"mask", "-", []string{"TestPrivSignalfd"}},
	"inotify": {
		"watches, under their numbers",
		"events not read; watches on other file systems than the root's (reported), or on a path that only a bind mount has",
		[]string{"TestPrivInotify"},
	},
	"memfd": {
		"bytes up to 64 MiB, size, seals, position; shared between members as it was",
		"huge pages",
		[]string{"TestPrivMemfd", "TestPrivMemfdOfTwo"},
	},
	"pipe": {
		"bytes not read, packets, capacity, fifos under their path, ends that are closed",
		"an end outside the cluster: reading waits for ever, what is written goes to the world's log (reported)",
		[]string{"TestPrivPipe", "TestPrivFifo", "TestPrivPipeOfTwo"},
	},
	"tcp listener": {
		"address, backlog, options, MPTCP",
		"connections from outside that were not accepted",
		[]string{"TestPrivTCP", "TestPrivMPTCP"},
	},
	"tcp": {
		"between members: both addresses, bytes not read, bytes not sent for want of room, half-closed ends, options; not accepted ones without bytes",
		"sequence numbers, congestion state, buffer sizes; the peer of a connection to the outside, which is reset; not accepted ones with bytes, MPTCP with a full send queue, and TCP with one where the kernel has no io_uring for it (reported); MPTCP goes on as TCP",
		[]string{"TestPrivTCP", "TestPrivMPTCP", "TestPrivMPTCPFull", "TestPrivUnaccepted", "TestPrivOutside"},
	},
	"udp":     {"address, peer, options", "datagrams not read", []string{"TestPrivUDP"}},
	"netlink": {"protocol, port id, the first 32 groups; the world's network namespace answers", "messages not read", []string{"TestPrivNetlink"}},
	"unix": {
		"stream, datagram and packet sockets; listeners by path and abstract; connections between members with what was not read, half-closed ends, SO_PASSCRED; not accepted ones without bytes",
		"descriptors and credentials in messages not read; messages of sockets without a peer (reported); a peer outside the cluster, which hangs up; the backlog's length",
		[]string{"TestPrivUnixPairs", "TestPrivUnixListener", "TestPrivUnixQueue", "TestPrivUnixOfTwo", "TestPrivUnixPairsOfTwo"},
	},
	"tty": {"-", "output goes to the world's log, input is at its end, there is no terminal behind it", []string{"TestPrivTerminal"}},
	"file": {
		"path, flags, position, locks of all three sorts; deleted ones with their bytes; directories; /dev/null, zero, full, random, urandom",
		"what is written outside the data directories goes to the world's log (reported); leases; what /proc tells of a thread (reported)",
		[]string{"TestPrivFile", "TestPrivDeletedFile", "TestPrivDirectory", "TestPrivLocks", "TestPrivDevices", "TestPrivProcFile"},
	},
}

const kindsHead = `<!-- Made by: go test ./internal/kobj -run TestKindsDocument -update -->
# Kernel objects

What a world has of the objects behind the descriptors of its processes. Descriptors keep their numbers and flags, and those
that share an open file description in production share one in the world. The first kind that matches is taken. "Reported"
losses are listed in every report under "not covered".

| kind | file | kept | not kept | tests in internal/kindtest |
|---|---|---|---|---|
`

const kindsOther = `
## Without a descriptor

All of it, with what is degraded and why, is in [design/fidelity.md](design/fidelity.md).

| object | kept | not kept | tests |
|---|---|---|---|
| private memory | every byte, at its address; what fork leaves out (MADV_DONTFORK, MADV_WIPEONFORK) is copied | that it is locked (reported) | TestPrivPrivateMemory, TestPrivDontFork, TestPrivLocked |
| shared memory | files of data directories on the world's copy; other memory, up to 64 MiB, with the bytes of the pause | - | TestPrivSharedFile, TestPrivSharedAnonymous |
| threads | numbers, names, registers, vector state, signal masks and alternate stacks, rseq, robust lists, thread-local storage; affinity, nice value, policy, I/O priority, timer slack; interrupted calls are made again | real-time priority (reported); the rest of a relative timeout | TestPrivThreads, TestPrivFloat, TestPrivScheduled, TestPrivRealtime, TestPrivTimeouts |
| signals | handlers; pending ones, of threads and of the process | | TestPrivPendingSignals |
| timers | interval timers and POSIX timers with their ids and the time left, read in the pause | overruns | TestPrivTimers, TestPrivRearm |
| process | pid, working directory, umask, limits, arguments, environment, ids, groups, capabilities, securebits, personality, dumpable, subreaper, parent-death signal | parent, session and process group (reported), controlling terminal (reported); capabilities that reach out of a world | TestPrivProcess, TestPrivTraits, TestPrivUndumpable, TestPrivCapable, TestPrivGroup |
| credentials | users, groups, the five sets of capabilities of every thread, securebits, no_new_privs, whether it is dumpable | capabilities that reach out of a world; what the peer of a unix socket made before the fork is told of its user (SO_PEERCRED) | internal/membertest: TestPrivOrdinaryUser, TestPrivSomeCapabilities, TestPrivRootWithoutCapabilities, TestPrivHidden, TestPrivRootAndUser |
| seccomp filters | all of them, in force | - | internal/membertest: TestPrivFiltered |
| clocks | monotonic and boot time go on from the pause | the wall clock is the host's (reported); clocks of processor time begin anew | TestPrivClocks, TestPrivTimerfd |
| random numbers | generators in memory | the kernel's generator, which differs | TestPrivRandom |

## Refused

Found before anything is stopped; ` + "`pilot doctor`" + ` shows it too. Whatever has no kind above is refused as well.

| object | why | what to do |
|---|---|---|
`

// verb is what fmt replaces by a number or a name.
var verb = regexp.MustCompile(`%[dqsv]`)

// TestKindsDocument holds docs/kinds.md to the table of kinds and to the
// reasons of package plan.
func TestKindsDocument(t *testing.T) {
	declared := declarations(t, ".")
	tests := declarations(t, "../kindtest")
	var doc bytes.Buffer
	doc.WriteString(kindsHead)
	for _, k := range kinds {
		f, ok := kindFacts[k.Name()]
		if !ok {
			t.Errorf("kind %s has no entry in kindFacts", k.Name())
		}
		for _, name := range f.tests {
			if tests[name] == "" {
				t.Errorf("kind %s: there is no test %s", k.Name(), name)
			}
		}
		fmt.Fprintf(&doc, "| %s | `%s` | %s | %s | %s |\n", k.Name(), declared[reflect.TypeOf(k).Name()], f.kept, f.lost, strings.Join(f.tests, ", "))
	}
	if len(kindFacts) != len(kinds) {
		t.Errorf("%d kinds and %d entries in kindFacts", len(kinds), len(kindFacts))
	}
	doc.WriteString(kindsOther)
	for _, r := range refusals(t) {
		fmt.Fprintf(&doc, "| %s | %s | %s |\n", strings.TrimSuffix(r[0], "*"), r[1], r[2])
	}

	const path = "../../docs/kinds.md"
	if *update {
		if err := os.WriteFile(path, doc.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	now, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(now, doc.Bytes()) {
		t.Error("docs/kinds.md is not up to date: go test ./internal/kobj -run TestKindsDocument -update")
	}
}

func parseDir(t *testing.T, dir string) map[string]*ast.File {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no sources in %s: %v", dir, err)
	}
	out := map[string]*ast.File{}
	for _, name := range names {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(name)] = f
	}
	return out
}

// declarations maps the types and functions of a package to their files.
func declarations(t *testing.T, dir string) map[string]string {
	out := map[string]string{}
	for name, f := range parseDir(t, dir) {
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				out[d.Name.Name] = name
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if s, ok := s.(*ast.TypeSpec); ok {
						out[s.Name.Name] = name
					}
				}
			}
		}
	}
	return out
}

// refusals reads the values of type reason in package plan: kind, why, hint.
func refusals(t *testing.T) (out [][3]string) {
	files := parseDir(t, "../plan")
	consts := map[string]ast.Expr{}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == len(v.Names) {
				for i, name := range v.Names {
					consts[name.Name] = v.Values[i]
				}
			}
			return true
		})
	}
	text := func(e ast.Expr) string {
		if id, ok := e.(*ast.Ident); ok {
			e = consts[id.Name]
		}
		if call, ok := e.(*ast.CallExpr); ok && len(call.Args) > 1 { // fmt.Sprintf
			e = call.Args[0]
		}
		lit, ok := e.(*ast.BasicLit)
		if !ok {
			t.Fatalf("package plan: a reason is neither text nor a format: %T", e)
		}
		s, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		return verb.ReplaceAllString(s, "N")
	}
	add := func(c *ast.CompositeLit) {
		if len(c.Elts) == 3 {
			out = append(out, [3]string{text(c.Elts[0]), text(c.Elts[1]), text(c.Elts[2])})
		}
	}
	for _, name := range []string{"descriptor.go", "mapping.go"} {
		if files[name] == nil {
			t.Fatalf("package plan has no %s", name)
		}
		ast.Inspect(files[name], func(n ast.Node) bool {
			c, ok := n.(*ast.CompositeLit)
			if !ok {
				return true
			}
			switch typ := c.Type.(type) {
			case *ast.Ident:
				if typ.Name == "reason" {
					add(c)
				}
			case *ast.ArrayType:
				if elt, ok := typ.Elt.(*ast.Ident); ok && elt.Name == "reason" {
					for _, e := range c.Elts {
						add(e.(*ast.CompositeLit))
					}
				}
			}
			return true
		})
	}
	if len(out) < 10 {
		t.Fatalf("found only %d reasons in package plan", len(out))
	}
	slices.SortStableFunc(out, func(a, b [3]string) int { return strings.Compare(a[0], b[0]) })
	return slices.Compact(out)
}
