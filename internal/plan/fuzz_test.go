package plan

import (
	"path"
	"slices"
	"strings"
	"testing"
)

// FuzzMention begins with configurations of real servers, in testdata/fuzz. What
// is put between two of the separators must be found, and nothing must be found
// that is not there.
func FuzzMention(f *testing.F) {
	f.Add("data-dir: ./m1/data\n", "/srv/m1/data", "/srv")
	f.Add("x=/srv/m1//", "/srv/m1", "/")
	f.Fuzz(func(t *testing.T, text, dir, cwd string) {
		if !path.IsAbs(dir) || path.Clean(dir) != dir || dir == "/" || strings.ContainsAny(dir, around) {
			t.Skip("no directory that is looked for")
		}
		if len(text) > 4096 || len(dir) > 256 {
			t.Skip("slow, and nothing new")
		}
		if word(text, dir) && !strings.Contains(text, dir) {
			t.Errorf("%q is not in %q", dir, text)
		}
		for _, sep := range around {
			if s := string(sep); !word(text+s+dir+s+text, dir) || !word(dir+"//"+s, dir) || !word(s+dir, dir) {
				t.Errorf("%q is not found between %q", dir, s)
			}
		}
		if word(text+" "+dir+"x", dir) && !word(text, dir) {
			t.Errorf("%q is found in %q", dir, dir+"x")
		}
		if relatives(text, dir, cwd) {
			found := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(around, r) })
			if !slices.ContainsFunc(found, func(s string) bool { return path.Join(cwd, s) == dir }) {
				t.Errorf("%q is not in %q as seen from %q", dir, text, cwd)
			}
		}
	})
}

// FuzzRefusals wants a kind that is not known to be refused, whatever it is, and
// a reason for each.
func FuzzRefusals(f *testing.F) {
	for _, kind := range []string{"file", "anon_inode:[io_uring]", "anon_inode:bpf-map", "/dev/kvm", "socket:[netlink audit]", ""} {
		f.Add(kind, true)
		f.Add(kind, false)
	}
	f.Fuzz(func(t *testing.T, kind string, known bool) {
		r, refused := Descriptor{Kind: kind, Known: known}.refusal()
		if r.why == "" || !known && !refused {
			t.Errorf("%q, known %v: refused %v, %+v", kind, known, refused, r)
		}
	})
}

// FuzzPreflight wants mappings that need their bytes to be counted against the
// limit, however they look, and no refusal without a reason.
func FuzzPreflight(f *testing.F) {
	f.Add(uint64(0), uint64(65<<20), "/x/y", "mw", true, false)
	f.Add(uint64(1<<40), uint64(1<<41), "/SYSV00000000", "wf dp", false, true)
	f.Add(^uint64(0), uint64(0), "", "ss um", true, true)
	f.Fuzz(func(t *testing.T, start, end uint64, file, flags string, shared, deleted bool) {
		facts := sound()
		facts.Mappings = []Mapping{{Start: start, End: end, Path: file, Flags: strings.Fields(flags), Shared: shared, Deleted: deleted}}
		refusals, gaps, _ := Preflight(facts)
		for _, r := range refusals {
			if r.Why == "" || r.Kind == "" || r.Member == "" {
				t.Errorf("incomplete refusal %+v", r)
			}
		}
		for _, g := range gaps {
			if g.Object == "" || g.Detail == "" {
				t.Errorf("incomplete gap %+v", g)
			}
		}
		if m := facts.Mappings[0]; m.copied(nil) && start < end && end-start > 64<<20 && len(refusals) == 0 {
			t.Errorf("%v is copied and not refused", m)
		}
	})
}

func FuzzKernelSupported(f *testing.F) {
	for _, release := range []string{"6.1.0-18-amd64", "5.14", "5.13.9", "", "6", "x.y", "5.99999999999999999999"} {
		f.Add(release)
	}
	f.Fuzz(func(t *testing.T, release string) {
		if KernelSupported(release) && !strings.ContainsRune(release, '.') {
			t.Errorf("%q is supported", release)
		}
	})
}
