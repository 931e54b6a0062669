package plan

import (
	"path"
	"strings"
)

// named returns the longest directory above file that is mentioned.
func named(in DataInput, file string) string {
	for dir := path.Dir(file); !isBroad(dir) && dir != "."; dir = path.Dir(dir) {
		for i, arg := range in.Args {
			flag := i > 0 && strings.HasPrefix(in.Args[i-1], "-")
			if word(arg, dir) || relative(arg, flag, dir, in.Cwd) {
				return dir
			}
		}
		for _, text := range in.Configs {
			if word(text, dir) || relatives(text, dir, in.Cwd) {
				return dir
			}
		}
	}
	return ""
}

// relative reports whether an argument is dir as seen from cwd: behind a "=",
// or by itself if it looks like a path or follows a flag.
func relative(arg string, afterFlag bool, dir, cwd string) bool {
	_, value, assigned := strings.Cut(arg, "=")
	if !assigned {
		value = arg
		if !afterFlag && !isPath(value) {
			return false
		}
	}
	return value != "" && value[0] != '/' && value[0] != '-' && path.Join(cwd, value) == dir
}

// isPath tells a relative path from a word that means something else.
func isPath(s string) bool { return strings.Contains(s, "/") || s == "." || s == ".." }

// around are the bytes between which a path stands, in arguments and in
// configuration files: properties, YAML, JSON, TOML, XML, and the formats of
// redis and NATS.
const around = " \t\r\n\"'`=:,;<>[](){}"

// relatives reports whether text has a relative path that is dir as seen from
// cwd. A word without a slash may mean anything, so it does not count.
func relatives(text, dir, cwd string) bool {
	for field := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(around, r) }) {
		if field[0] != '/' && isPath(field) && path.Join(cwd, field) == dir {
			return true
		}
	}
	return false
}

// word reports whether text contains dir as a whole path, with or without
// slashes behind it.
func word(text, dir string) bool {
	for at := 0; ; {
		i := strings.Index(text[at:], dir)
		if i < 0 {
			return false
		}
		start := at + i
		end := start + len(dir)
		for end < len(text) && text[end] == '/' {
			end++
		}
		if (start == 0 || strings.IndexByte(around, text[start-1]) >= 0 || strings.HasSuffix(text[:start], "file://")) &&
			(end == len(text) || strings.IndexByte(around, text[end]) >= 0) {
			return true
		}
		at = start + 1
	}
}
