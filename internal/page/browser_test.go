package page

import (
	"bytes"
	_ "embed"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

//go:embed testdata/audit.js
var audit string

// TestAuditComplains shows the audit a page that has everything wrong.
func TestAuditComplains(t *testing.T) {
	tb := startChromium(t).open(t, `<!DOCTYPE html><html><head><title>x</title><style>body { background: #fff } p { color: #999 } .on { background: #555; color: #000 } input { border: 1px solid #eee } div { height: 20px; overflow: auto } svg text { fill: #fff }</style></head><body>
<h2>two</h2><p>pale</p><b class="on">dark on dark</b><table><thead><tr><th>a</th></tr></thead><tbody><tr><td>1</td><td>2</td></tr></tbody></table>
<a href="#none">nowhere</a><a href="http://far.example">far</a><a id="i" href="#i"></a><i id="i" tabindex="3">i</i><input id="q"><svg width="90" height="40"><rect width="90" height="40" fill="#eee"/><text x="5" y="20">white</text></svg>
<details>none</details><section aria-labelledby="gone">x</section><nav></nav><div><pre>1
2
3
4</pre></div></body></html>`)
	var found struct{ Bad []string }
	tb.eval(audit, &found)
	for _, want := range []string{"no language", "not one main", "level 2 below one of 0", "contrast 2.85", "class=\"on\"> dark", "without a caption", "th without scope", "2 cells, not 1", "leads nowhere", "leads out", "link without text",
		"id twice", "tabindex above 0", "input without a label", "border contrast", "drawing without a name", "> white", "details without a summary", "aria-labelledby to nothing", "landmark without", "not by keyboard"} {
		if !strings.Contains(strings.Join(found.Bad, "\n"), want) {
			t.Errorf("no complaint of %q in\n%s", want, strings.Join(found.Bad, "\n"))
		}
	}
}

func hostile() *model.Report {
	r := &model.Report{}
	fill(reflect.ValueOf(r).Elem(), `"'></script></style></pre><img src=/leak onerror="fetch('/leak')"><script>fetch('/leak')</script>`)
	return r
}

// TestBrowser reads pages as people do: with a browser, a keyboard, by day and
// by night, on a phone and on paper.
func TestBrowser(t *testing.T) {
	c := startChromium(t)
	for name, r := range map[string]*model.Report{"story": sample(t, "story"), "fail": sample(t, "fail"), "bare": sample(t, "bare"), "hostile": hostile()} {
		t.Run("audit "+name, func(t *testing.T) { c.audited(t, render(t, Page{Report: r, Unmasked: name == "bare"})) })
	}
	story := render(t, Page{Report: sample(t, "story")})
	t.Run("policy", func(t *testing.T) { c.policed(t, story) })
	t.Run("keyboard", func(t *testing.T) { c.keyed(t, story) })
	t.Run("search", func(t *testing.T) { c.searched(t, story) })
	t.Run("causes", func(t *testing.T) { c.caused(t, story) })
	t.Run("phone", func(t *testing.T) { c.onPhone(t, story) })
	t.Run("paper", func(t *testing.T) { c.printed(t, story) })
	t.Run("big", func(t *testing.T) { c.filtered(t, render(t, Page{Report: big(10_000)})) })
}

// audited runs the audit in both colour schemes, which must differ.
func (c *chromium) audited(t *testing.T, html string) {
	tb := c.open(t, html)
	var shots [][]byte
	for _, scheme := range []string{"light", "dark"} {
		tb.scheme(scheme, "screen")
		shots = append(shots, tb.screenshot())
		var found struct {
			Seen int
			Bad  []string
		}
		tb.eval(audit, &found)
		for _, complaint := range found.Bad {
			t.Errorf("%s: %s", scheme, complaint)
		}
		if found.Seen < 50 {
			t.Errorf("%s: only %d texts were looked at", scheme, found.Seen)
		}
	}
	if bytes.Equal(shots[0], shots[1]) {
		t.Error("light and dark look the same")
	}
	tb.quiet()
}

// policed tries to run what could be injected if escaping failed.
func (c *chromium) policed(t *testing.T, html string) {
	tb := c.open(t, html)
	tb.quiet()
	var ran []string
	tb.eval(`(async () => {
		window.ran = [];
		const div = document.createElement('div');
		div.innerHTML = '<img src="/image" onerror="ran.push(1)"><p onclick="ran.push(2)" style="color:red">x</p><iframe src="/frame"></iframe><form action="/form"></form><link rel=stylesheet href="/style">';
		document.body.append(div);
		const script = document.createElement('script');
		script.textContent = 'ran.push(3)';
		document.body.append(script);
		const far = document.createElement('script');
		far.src = '/script';
		document.body.append(far);
		div.querySelector('p').click();
		if (getComputedStyle(div.querySelector('p')).color === 'rgb(255, 0, 0)') ran.push(4);
		div.querySelector('form').submit();
		await fetch('/fetch').then(() => ran.push(5), () => {});
		return ran;
	})()`, &ran)
	if len(ran) > 0 {
		t.Errorf("ran: %v", ran)
	}
	tb.mu.Lock()
	defer tb.mu.Unlock()
	for _, r := range tb.requests[1:] {
		if strings.HasPrefix(r, "GET") || strings.HasPrefix(r, "POST") {
			t.Errorf("it reached the server: %s", r)
		}
	}
	if len(tb.trouble) < 5 {
		t.Errorf("the browser complained of %d violations only", len(tb.trouble))
	}
}

// focused tells of what has the focus: where it is, and whether that is seen.
const focused = `(() => {
	const e = document.activeElement, s = getComputedStyle(e), finding = e.closest('.finding');
	return {tag: e.tagName, text: e.textContent.trim().slice(0, 40), finding: finding && e.tagName === 'SUMMARY' ? finding.id : '', seen: s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2};
})()`

type focus struct {
	Tag, Text, Finding string
	Seen               bool
}

func (c *chromium) keyed(t *testing.T, html string) {
	tb := c.open(t, html)
	var f focus
	tab := func() focus {
		tb.press("Tab", 9, "")
		tb.eval(focused, &f)
		return f
	}
	if f := tab(); f.Text != "Skip to the verdict" || !f.Seen {
		t.Errorf("first comes %+v", f)
	}
	tb.press("Enter", 13, "\r")
	var hash string
	tb.eval(`location.hash`, &hash)
	if hash != "#main" {
		t.Errorf("the skip link leads to %q", hash)
	}
	reached := map[string]bool{}
	for range 40 {
		f := tab()
		if f.Tag == "BODY" {
			break
		}
		if !f.Seen {
			t.Errorf("the focus is not seen: %+v", f)
		}
		if f.Finding != "" {
			reached[f.Finding] = true
		}
	}
	for n := range sample(t, "story").Verdict.Findings {
		if id := fmt.Sprintf("finding-%d", n+1); !reached[id] {
			t.Errorf("Tab does not reach %s; it reaches %v", id, reached)
		}
	}
	// The last finding is a warning and folded; Enter unfolds it.
	tb.eval(`document.querySelector('#finding-5 summary').focus()`, nil)
	var before, after bool
	tb.eval(`document.querySelector('#finding-5 details').open`, &before)
	tb.press("Enter", 13, "\r")
	tb.eval(`document.querySelector('#finding-5 details').open`, &after)
	if before || !after {
		t.Errorf("Enter on a finding: open was %v, is %v", before, after)
	}
	// A link to what is folded unfolds it.
	tb.eval(`document.querySelector('#finding-5 details').open = false; location.hash = '#finding-5'; new Promise(r => setTimeout(r, 50))`, nil)
	tb.eval(`document.querySelector('#finding-5 details').open`, &after)
	if !after {
		t.Error("a link to a finding leaves it folded")
	}
	tb.quiet()
}

// search types text into an input, and waits until the page says what it found.
func (tb *tab) search(input, status, text string) (found string) {
	tb.t.Helper()
	tb.eval(fmt.Sprintf(`(async () => {
		const input = document.querySelector(%q), status = document.querySelector(%q);
		const said = new Promise(r => new MutationObserver(r).observe(status, {childList: true}));
		input.value = %q;
		input.dispatchEvent(new Event('input'));
		await said;
		return status.textContent;
	})()`, input, status, text), &found)
	return found
}

func (c *chromium) searched(t *testing.T, html string) {
	tb := c.open(t, html)
	rows := func() (n int) {
		tb.eval(`[...document.querySelectorAll('[data-row]')].filter(r => !r.hidden).length`, &n)
		return n
	}
	all := rows()
	if got := tb.search("#find-all", "#found-all", "TOCOMMIT"); got == "" || !strings.HasSuffix(got, "lists") || rows() == 0 || rows() >= all {
		t.Errorf("%q, %d rows of %d", got, rows(), all)
	}
	var unfolded bool
	tb.eval(`document.querySelector('#events details').open`, &unfolded)
	if !unfolded {
		t.Error("what was found stays folded")
	}
	if got := tb.search("#find-all", "#found-all", ""); got != "" || rows() != all {
		t.Errorf("%q, %d rows of %d", got, rows(), all)
	}
	tb.eval(`document.querySelector('#events details').open`, &unfolded)
	if unfolded {
		t.Error("what was folded stays unfolded")
	}
	tb.quiet()
}

// caused looks at the tree of who caused what: its buttons, and the keyboard.
func (c *chromium) caused(t *testing.T, html string) {
	tb := c.open(t, html)
	lines := func() (out []string) {
		tb.eval(`[...document.querySelectorAll('#causes li[data-row]')].filter(r => r.checkVisibility()).map(r => r.firstElementChild.textContent.slice(0, 80))`, &out)
		return out
	}
	press := func(word string) (pressed string) {
		tb.eval(fmt.Sprintf(`(() => {
			const b = [...document.querySelectorAll('#causes button')].find(b => b.dataset.find === %q);
			b.click();
			return b.ariaPressed;
		})()`, word), &pressed)
		return pressed
	}
	all := len(lines())
	if pressed := press("failed"); pressed != "true" || len(lines()) == 0 || len(lines()) >= all {
		t.Errorf("what failed: pressed %s, %d lines of %d", pressed, len(lines()), all)
	}
	var stray []string // lines that neither failed nor lead to one that did
	tb.eval(`[...document.querySelectorAll('#causes li[data-row]')].filter(r => r.checkVisibility() && !r.matches('.failed') && !r.querySelector('.failed')).map(r => r.textContent.slice(0, 80))`, &stray)
	if len(stray) > 0 {
		t.Errorf("shown as failed: %q", stray)
	}
	if pressed := press("failed"); pressed != "false" || len(lines()) != all {
		t.Errorf("all: pressed %s, %d lines of %d", pressed, len(lines()), all)
	}
	tb.eval(`document.querySelector('#causes .tree summary').focus()`, nil)
	tb.press("Enter", 13, "\r")
	if n := len(lines()); n != 1 {
		t.Errorf("folded by Enter: %d lines", n)
	}
	tb.quiet()
}

func (c *chromium) onPhone(t *testing.T, html string) {
	tb := c.open(t, html)
	tb.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": true}, nil)
	var size struct{ Width, Title int }
	tb.eval(`({width: document.documentElement.scrollWidth, title: Math.round(document.querySelector('.stamp').getBoundingClientRect().bottom)})`, &size)
	if size.Width > 360 {
		t.Errorf("the page is %d wide on a screen of 360", size.Width)
	}
	if size.Title > 740 {
		t.Errorf("the verdict ends at %d, below the first screen", size.Title)
	}
	tb.quiet()
}

func (c *chromium) printed(t *testing.T, html string) {
	tb := c.open(t, html)
	tb.scheme("dark", "print")
	var paper struct{ Back, Nav string }
	tb.eval(`({back: getComputedStyle(document.querySelector('#findings')).backgroundColor, nav: getComputedStyle(document.querySelector('nav')).display})`, &paper)
	if paper.Back != "rgb(255, 255, 255)" || paper.Nav != "none" {
		t.Errorf("on paper: %+v", paper)
	}
	tb.scheme("light", "")
	tb.eval(`addEventListener('beforeprint', () => window.folded = document.querySelectorAll('details:not([open])').length); window.before = document.querySelectorAll('details:not([open])').length`, nil)
	var pdf struct{ Data []byte }
	tb.call("Page.printToPDF", map[string]any{"printBackground": true}, &pdf)
	if !bytes.HasPrefix(pdf.Data, []byte("%PDF-")) {
		t.Errorf("got %.20q", pdf.Data)
	}
	var folds struct{ Before, Folded, After int }
	tb.eval(`({before, folded, after: document.querySelectorAll('details:not([open])').length})`, &folds)
	if folds.Folded != 0 || folds.Before == 0 || folds.After != folds.Before {
		t.Errorf("folded before, on paper, after: %+v", folds)
	}
	tb.quiet()
}

// filtered opens a page of 10 000 files, unfolds them and looks for one. The
// bounds are what a reader bears, not what it takes.
func (c *chromium) filtered(t *testing.T, html string) {
	start := time.Now()
	tb := c.open(t, html)
	opened := time.Since(start)
	start = time.Now()
	if got := tb.search("#find-files", "#found-files", "segment-00009999"); got != "1 of 10000" {
		t.Errorf("found %q", got)
	}
	found := time.Since(start)
	tb.search("#find-files", "#found-files", "")
	start = time.Now()
	tb.eval(`(() => { document.querySelector('#files details').open = true; return document.querySelector('#files').getBoundingClientRect().height; })()`, nil)
	unfolded := time.Since(start)
	t.Logf("%d bytes: opened in %v, searched in %v, unfolded in %v", len(html), opened, found, unfolded)
	if opened > 5*time.Second || found > 3*time.Second || unfolded > 8*time.Second {
		t.Errorf("too slow: opened in %v, searched in %v, unfolded in %v", opened, found, unfolded)
	}
	tb.quiet()
}
