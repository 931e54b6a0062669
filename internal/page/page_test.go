package page

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/pilotexec/pilot/internal/model"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func render(t testing.TB, p Page) string {
	t.Helper()
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// sample reads a report, as pilot stores it.
func sample(t testing.TB, name string) *model.Report {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	r := &model.Report{}
	if err := json.Unmarshal(text, r); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestGolden holds whole pages, but for the style and the script, which have
// files of their own.
func TestGolden(t *testing.T) {
	for _, name := range []string{"fail", "bare", "story"} {
		got := strings.ReplaceAll(render(t, Page{Report: sample(t, name)}), "&#43;", "+")
		for _, part := range []struct{ is, shown string }{{style, "STYLE"}, {script, "SCRIPT"}, {hash(style), "HASH"}, {hash(script), "HASH"}} {
			if !strings.Contains(got, part.is) {
				t.Errorf("%s: the page lacks its %s", name, part.shown)
			}
			got = strings.ReplaceAll(got, part.is, part.shown)
		}
		path := filepath.Join("testdata", name+".html")
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s is not what it was; see what -update changes", path)
		}
	}
}

// fill puts text into every string that v holds, and makes lists of two.
func fill(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), text)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), text)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), text)
			}
		}
	}
}

// TestHostileText puts what tries to be markup into every field there is, also
// those that a later version adds.
func TestHostileText(t *testing.T) {
	for _, text := range []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `</style><svg onload=alert(1)>`, `'--><iframe src="https://evil.example">`, `{{.R}} javascript:alert(1)`,
	} {
		r := &model.Report{}
		fill(reflect.ValueOf(r).Elem(), text)
		page := render(t, Page{Report: r})
		if strings.Count(page, "<script") != 1 || strings.Count(page, "</script>") != 1 || strings.Count(page, "<style") != 1 || strings.Count(page, "</style>") != 1 {
			t.Errorf("%s: it became a script or a style", text)
		}
		// What is left of the markup when quoted values are taken away.
		tags := regexp.MustCompile(`="[^"]*"`).ReplaceAllString(strings.NewReplacer(script, "", style, "").Replace(page), "")
		if odd := regexp.MustCompile(`<(img|iframe|svg onload|link|base|form|object)\b|<[a-z][^<>]*\s(on[a-z]+|src|style)\b[^<>]*>`).FindString(tags); odd != "" {
			t.Errorf("%s: became %s", text, odd)
		}
		if strings.Contains(page, `href="javascript`) || strings.Contains(page, `href="http`) {
			t.Errorf("%s: became a link", text)
		}
	}
}

// TestNothingInvisible puts characters that mislead into every field.
func TestNothingInvisible(t *testing.T) {
	r := &model.Report{}
	fill(reflect.ValueOf(r).Elem(), "a\x1b[2Jb\u202egpj\u200b\x00\xff\r\u2028é")
	page := render(t, Page{Report: r})
	if i := strings.IndexFunc(page, func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("at %d: %q", i, page[i:min(i+40, len(page))])
	}
	for _, want := range []string{`a\x1b[2Jb\u202egpj\u200b`, "\\r\\u2028é"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not on the page", want)
		}
	}
}

// TestEveryFieldIsShown finds the fields of a report that the page forgets.
func TestEveryFieldIsShown(t *testing.T) {
	r := &model.Report{}
	n := 0
	marks := map[string]string{}
	var number func(v reflect.Value, path string)
	number = func(v reflect.Value, path string) {
		switch v.Kind() {
		case reflect.String:
			n++
			mark := fmt.Sprintf("mark%dend", n)
			v.SetString(mark)
			marks[mark] = path
		case reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
			number(v.Elem(), path)
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			number(v.Index(0), path)
		case reflect.Struct:
			for i := range v.NumField() {
				if f := v.Type().Field(i); f.IsExported() {
					number(v.Field(i), path+"."+f.Name)
				}
			}
		}
	}
	number(reflect.ValueOf(r).Elem(), "")
	for _, w := range []*model.World{&r.Trial, &r.Control} { // they are shown beside their rule
		w.LogMatches[0].Pattern = r.Spec.LogRules[0].Pattern
	}
	page := render(t, Page{Report: r})
	// They are told otherwise: by words, by the trial's twin, or by what
	// prevails, as an error does over an exit.
	silent := []string{".Spec.Env", ".Trial.Name", ".Control.Name", ".Verdict.Status", ".Spec.Probes", ".Exit.Signal", ".Control.Logs", ".Control.Probes", ".Probes.Name", ".Probes.Command",
		".Control.Files", ".Trial.Probes", ".Sign", ".Control.Action", ".Events.PID", ".Action.Output", ".Cause", ".Events.Member", ".LogMatches.Pattern"}
	for mark, path := range marks {
		if strings.Contains(page, mark) {
			continue
		}
		known := false
		for _, s := range silent {
			known = known || strings.Contains(path, s)
		}
		if !known {
			t.Errorf("%s is not on the page", path)
		}
	}
}

// TestBigReport bounds what a page of many changes costs.
func TestBigReport(t *testing.T) {
	page := render(t, Page{Report: big(10_000)})
	if n := strings.Count(page, "<tr data-row><td><span"); n < 10_000 {
		t.Errorf("%d rows", n)
	}
	if len(page) > 4<<20 {
		t.Errorf("%d bytes", len(page))
	}
}

// big is a report with n changed files.
func big(n int) *model.Report {
	r := &model.Report{ID: "big000", Spec: model.Spec{Members: []model.Member{{Name: "kv", PID: 5}}, Action: []string{"true"}}}
	r.Trial.Name, r.Control.Name = "trial", "control"
	r.Trial.Lifetime = 9 * time.Second
	for i := range n {
		path := fmt.Sprintf("/var/lib/kv/data/%03d/segment-%08d.sst", i/100, i)
		r.Trial.Files = append(r.Trial.Files, model.FileChange{Sign: "+", Path: path, Member: "kv", New: int64(i)})
		r.Verdict.Effects = append(r.Verdict.Effects, model.Effect{Sign: "+", Kind: "file", Object: path, Member: "kv", Detail: size(int64(i))})
	}
	r.Verdict.Status, r.Verdict.Reason = model.Pass, "the action ended with exit status 0"
	return r
}

func BenchmarkBigReport(b *testing.B) {
	r := big(10_000)
	for b.Loop() {
		render(b, Page{Report: r})
	}
}

func TestUnmaskedPageSaysSo(t *testing.T) {
	r := sample(t, "bare")
	if page := render(t, Page{Report: r, Unmasked: true}); !strings.Contains(page, "may show passwords") {
		t.Error("no warning")
	}
	if page := render(t, Page{Report: r}); strings.Contains(page, "may show passwords") {
		t.Error("a warning")
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestWriteError(t *testing.T) {
	if err := (Page{Report: &model.Report{}}).Write(full{}); err == nil || err.Error() != "full" {
		t.Errorf("got %v", err)
	}
}

// TestStatusFailsClosed shows what is no verdict as unknown.
func TestStatusFailsClosed(t *testing.T) {
	for _, s := range []model.Status{"", "passed", "PASS"} {
		page := render(t, Page{Report: &model.Report{Verdict: model.Verdict{Status: s}}})
		if !strings.Contains(page, `<body class="unknown">`) || strings.Contains(page, "PASS</span>") {
			t.Errorf("%q is not shown as unknown", s)
		}
	}
}
