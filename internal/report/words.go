package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/pilotexec/pilot/internal/model"
)

// Select Graphic Rendition parameters, ECMA-48 8.3.117.
const (
	bold   = "1"
	red    = "1;31"
	green  = "1;32"
	yellow = "1;33"
)

var headlines = map[model.Status]string{model.Pass: green, model.Fail: red, model.Unknown: yellow}

// marks has signs only for what decides the verdict: the other signs belong to
// effects.
var marks = map[model.Severity]struct{ sign, style string }{
	model.Error:    {"x", red},
	model.Unproven: {"?", yellow},
	model.Warning:  {" ", yellow},
	model.Info:     {" ", bold},
}

func (p *printer) paint(style, text string) string {
	if !p.color {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// clean escapes what could steer a terminal or break a line: control
// characters, invisible format characters and bytes that are not UTF-8.
func clean(s string) string {
	bad := func(r rune) bool { return r != ' ' && !unicode.IsPrint(r) || r == unicode.ReplacementChar }
	if strings.IndexFunc(s, bad) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\t':
			b.WriteByte(' ')
		case bad(r):
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// aside joins the parts that are there.
func aside(first, second string) string {
	first, second = clean(first), clean(second)
	if first == "" || second == "" || first == " " {
		return first + second
	}
	return first + ", " + second
}

// ms is d in milliseconds, which is how pauses are compared.
func ms(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// span is d, rounded for reading.
func span(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(time.Millisecond).String()
	default:
		return d.Round(time.Microsecond).String()
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
