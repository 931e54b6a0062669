//go:build linux

package main

import (
	"errors"
	"io/fs"
	"os"
	"strings"
)

const preamble = "<!-- Made by: make bench -->\n# Performance\n\nEach section tells on what, with which version and how often it was measured. Times are in milliseconds.\n\n"

// keep puts a section into the document at path, in the order of the cases.
func keep(path, title, section string) error {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	sections := split(string(text))
	sections[title] = section
	out := preamble
	for _, c := range cases {
		if s, ok := sections[c.title]; ok {
			out += strings.TrimRight(s, "\n") + "\n\n"
		}
	}
	return os.WriteFile(path, []byte(strings.TrimRight(out, "\n")+"\n"), 0o644)
}

// split returns the sections of a document by their titles.
func split(text string) map[string]string {
	sections := map[string]string{}
	for _, s := range strings.Split("\n"+text, "\n## ")[1:] {
		title, _, _ := strings.Cut(s, "\n")
		sections[title] = "## " + s
	}
	return sections
}
