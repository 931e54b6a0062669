//go:build linux

package observe

import "strings"

// plainText is what was shown on a terminal, without the sequences that move the
// cursor and choose colours (ECMA-48), and with what was erased by backspaces
// gone. It need not be exact: people read it, and rules look for lines in it.
func plainText(shown string) string {
	var out []rune
	text := []rune(shown)
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == 0x1b:
			i = escape(text, i)
		case c == '\b':
			if n := len(out); n > 0 && out[n-1] != '\n' {
				out = out[:n-1]
			}
		case c == '\n', c == '\t', c >= ' ' && c != 0x7f:
			out = append(out, c)
		}
	}
	return strings.TrimLeft(string(out), "\n")
}

// escape returns the place of the last character of the sequence that begins at i.
func escape(text []rune, i int) int {
	if i++; i >= len(text) {
		return i
	}
	switch text[i] {
	case '[': // a control sequence: up to a final character
		for i++; i < len(text) && (text[i] < 0x40 || text[i] > 0x7e); i++ {
		}
	case ']', 'P', '_', '^', 'X': // a string: up to BEL or ESC \
		for i++; i < len(text); i++ {
			if text[i] == 0x07 {
				return i
			}
			if text[i] == 0x1b {
				return i + 1
			}
		}
	default:
		for ; i < len(text) && text[i] >= 0x20 && text[i] <= 0x2f; i++ { // intermediate ones
		}
	}
	return i
}
