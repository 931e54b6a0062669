// Package page shows a finished run as one HTML page that needs nothing else: no
// network, no font, no other file. It can be mailed, archived and printed.
//
// All that is shown was written by programs that are not trusted. html/template
// escapes it, characters that could mislead are shown by their numbers, and the
// page's own policy lets no script run but the one whose hash it names.
package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page's parts
	"encoding/base64"
	"html/template"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pilotexec/pilot/internal/model"
)

var (
	//go:embed page.html
	markup string
	//go:embed lists.html
	lists string
	//go:embed style.css
	style string
	//go:embed script.js
	script string
)

// A Page is a report that is to be shown.
type Page struct {
	Report *model.Report
	// Unmasked says that what looks like a secret is shown as it is. The page
	// then warns of it.
	Unmasked bool
}

// Write writes the page.
func (p Page) Write(w io.Writer) error {
	t := template.New("page").Funcs(template.FuncMap{
		"ms": ms, "at": at, "span": span, "size": size, "ended": ended, "command": command, "percent": percent,
		"count": count, "number": number, "how": how, "lines": lines, "worldfacts": worldFacts, "tail": tail, "fared": fared,
	})
	for _, part := range []string{markup, lists} {
		if _, err := t.Parse(part); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	if err := t.Execute(&b, p.view()); err != nil {
		return err
	}
	_, err := w.Write(visible(b.Bytes()))
	return err
}

// policy forbids everything but the page's own style and script: no request, no
// form, no frame, no handler in an attribute.
func policy() string {
	return "default-src 'none'; style-src '" + hash(style) + "'; script-src '" + hash(script) + "'; base-uri 'none'; form-action 'none'"
}

// hash is the source expression of an inline element, Content Security Policy
// Level 3, section 2.3.1.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// visible shows control characters, invisible ones, and those that turn the
// direction of text by their numbers. It works on the whole page, so that no
// field can be forgotten; the page's own text has none of them.
func visible(page []byte) []byte {
	if bytes.IndexFunc(page, hidden) < 0 {
		return page
	}
	var b bytes.Buffer
	b.Grow(len(page) + len(page)/16)
	for len(page) > 0 {
		r, n := utf8.DecodeRune(page)
		if hidden(r) {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		} else {
			b.Write(page[:n])
		}
		page = page[n:]
	}
	return b.Bytes()
}

func hidden(r rune) bool {
	return r != '\n' && r != '\t' && !unicode.IsPrint(r) || r == unicode.ReplacementChar
}
