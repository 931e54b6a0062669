package records

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	maxText      = 256 << 10 // bytes of a file that is compared as text
	maxMiddle    = 4 << 20   // cells of the table of common lines
	maxDiffLines = 80        // lines of a diff
	maxDiffLine  = 300       // bytes of one of its lines
	diffContext  = 2         // lines around a change
)

// Diff is the difference of two texts, as diff -u prints it, without file names.
// It is empty when one of them is no text, or too long; nil is a file
// that is not there.
func Diff(before, after *File, b *Budget) string {
	old, ok := readText(before, b)
	if !ok {
		return ""
	}
	now, ok := readText(after, b)
	if !ok {
		return ""
	}
	return unified(splitLines(old), splitLines(now))
}

// readText reads f, and reports whether it is text.
func readText(f *File, b *Budget) (string, bool) {
	if f == nil || f.Size == 0 {
		return "", true
	}
	if f.Size > maxText {
		return "", false
	}
	text, err := read(*f, b).take(int(f.Size))
	if err != nil || bytes.IndexByte(text, 0) >= 0 || !utf8.Valid(text) {
		return "", false
	}
	return string(text), true
}

func splitLines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// An edit is a line that is kept, removed or added.
type edit struct {
	sign byte
	line string
}

// unified prints the changes from a to b.
func unified(a, b []string) string {
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	if head == len(a) && head == len(b) {
		return ""
	}
	middle := edits(a[head:len(a)-tail], b[head:len(b)-tail])
	from := max(0, head-diffContext)
	var all []edit
	for _, line := range a[from:head] {
		all = append(all, edit{' ', line})
	}
	all = append(all, middle...)
	for _, line := range a[len(a)-tail : min(len(a), len(a)-tail+diffContext)] {
		all = append(all, edit{' ', line})
	}
	return hunks(all, from, from)
}

// edits turns a into b with few changes: by the longest common lines, or, when
// the table of those would be too large, by replacing all.
func edits(a, b []string) (out []edit) {
	if len(a)*len(b) > maxMiddle {
		for _, line := range a {
			out = append(out, edit{'-', line})
		}
		for _, line := range b {
			out = append(out, edit{'+', line})
		}
		return out
	}
	width := len(b) + 1
	common := make([]int32, (len(a)+1)*width) // of a[i:] and b[j:]
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i*width+j] = common[(i+1)*width+j+1] + 1
			} else {
				common[i*width+j] = max(common[(i+1)*width+j], common[i*width+j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out = append(out, edit{' ', a[i]})
			i, j = i+1, j+1
		case i < len(a) && (j == len(b) || common[(i+1)*width+j] >= common[i*width+j+1]):
			out = append(out, edit{'-', a[i]})
			i++
		default:
			out = append(out, edit{'+', b[j]})
			j++
		}
	}
	return out
}

// hunks prints edits that begin at a line of either text, and leaves out what is
// far from a change.
func hunks(all []edit, i, j int) string {
	near := make([]bool, len(all))
	for n, e := range all {
		if e.sign != ' ' {
			for k := max(0, n-diffContext); k <= min(len(all)-1, n+diffContext); k++ {
				near[k] = true
			}
		}
	}
	var out strings.Builder
	lines := 0
	for n, e := range all {
		if near[n] {
			if lines == maxDiffLines {
				out.WriteString("… and more\n")
				return out.String()
			}
			if n == 0 || !near[n-1] {
				fmt.Fprintf(&out, "@@ -%d +%d @@\n", i+1, j+1)
			}
			fmt.Fprintf(&out, "%c%s\n", e.sign, shorten(e.line))
			lines++
		}
		if e.sign != '+' {
			i++
		}
		if e.sign != '-' {
			j++
		}
	}
	return out.String()
}

func shorten(line string) string {
	if len(line) <= maxDiffLine {
		return line
	}
	end := maxDiffLine
	for !utf8.RuneStart(line[end]) {
		end--
	}
	return line[:end] + "…"
}
