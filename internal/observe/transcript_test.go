//go:build linux

package observe

import "testing"

func TestPlainText(t *testing.T) {
	for shown, want := range map[string]string{
		"":                                       "",
		"a\r\nb\r\n":                             "a\nb\n",
		"\x1b[?2004h[pilot] # ls\r\n\x1b[?2004l": "[pilot] # ls\n",
		"\x1b[01;34mdir\x1b[0m x":                "dir x",
		"lss\b \b":                               "ls",
		"\x1b]0;title\x07text":                   "text",
		"\x1b]0;title\x1b\\text":                 "text",
		"\x1b(Btext\x1b=":                        "text",
		"cut\x1b":                                "cut",
		"cut\x1b[1;":                             "cut",
		"\x07bell\tä":                            "bell\tä",
		"a\n\bb":                                 "a\nb",
	} {
		if got := plainText(shown); got != want {
			t.Errorf("%q: got %q, want %q", shown, got, want)
		}
	}
}
