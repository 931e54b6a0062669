// Package plan decides, from facts already read, what a pilot may do: whether a
// process can be forked faithfully, and which directories the world needs
// writable copies of. It is pure: no kernel, no files, no clock.
package plan

import (
	"path"
	"slices"
	"strings"
)

// DataInput is what is known of one member's files.
type DataInput struct {
	Args []string
	Cwd  string
	// Written are the files that are open for writing, or mapped so.
	Written []string
	// Configs are the contents of small files that the arguments name.
	Configs []string
	// Given wins over everything found.
	Given []string
}

// broad are directories that many programs share. A world never gets a copy of
// one because of a single file in it.
var broad = []string{
	"/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/media", "/mnt", "/opt", "/proc", "/root", "/run",
	"/sbin", "/srv", "/sys", "/tmp", "/usr", "/usr/local", "/var", "/var/cache", "/var/lib", "/var/log",
	"/var/run", "/var/spool", "/var/tmp", "/dev/shm",
}

func isBroad(dir string) bool {
	return slices.Contains(broad, dir) || path.Dir(dir) == "/home"
}

// DataDirs chooses the directories, and single files, that hold a member's
// data. For each written file it is the longest directory above it that the
// command line or a configuration file names; else the working directory. Files without one are taken by
// themselves; but where no directory is named at all, it is the one that all
// written files share, unless that is a broad one.
func DataDirs(in DataInput) []string {
	if len(in.Given) > 0 {
		return Tidy(in.Given)
	}
	var found, rest []string
	for _, file := range in.Written {
		switch dir := named(in, file); {
		case dir != "":
			found = append(found, dir)
		case in.Cwd != "" && !isBroad(in.Cwd) && strings.HasPrefix(file, in.Cwd+"/"):
			found = append(found, in.Cwd) // many servers go where their data is
		default:
			rest = append(rest, file)
		}
	}
	// Beside a directory that is named, other files are most often logs.
	if dir := common(rest); len(found) == 0 && dir != "" && !isBroad(dir) {
		return []string{dir}
	}
	return Tidy(append(found, rest...))
}

// named returns the longest directory above file that is mentioned.
func named(in DataInput, file string) string {
	for dir := path.Dir(file); !isBroad(dir) && dir != "."; dir = path.Dir(dir) {
		for _, arg := range in.Args {
			if mentions(arg, dir, in.Cwd) {
				return dir
			}
		}
		for _, text := range in.Configs {
			if word(text, dir) {
				return dir
			}
		}
	}
	return ""
}

// mentions reports whether an argument is dir, alone or behind "=" or ":".
func mentions(arg, dir, cwd string) bool {
	for _, sep := range []string{"", "=", ":"} {
		value := arg
		if sep != "" {
			_, after, ok := strings.Cut(arg, sep)
			if !ok {
				continue
			}
			value = after
		}
		if !strings.HasPrefix(value, "/") {
			if value == "" || strings.HasPrefix(value, "-") || !strings.Contains(value, "/") && sep == "" {
				continue
			}
			value = path.Join(cwd, value)
		}
		if path.Clean(value) == dir {
			return true
		}
	}
	return false
}

// word reports whether text contains dir as a whole path.
func word(text, dir string) bool {
	for rest := text; ; {
		i := strings.Index(rest, dir)
		if i < 0 {
			return false
		}
		end := i + len(dir)
		for end < len(rest) && rest[end] == '/' {
			end++
		}
		if (i == 0 || strings.ContainsRune(" \t\n\"'=:,", rune(rest[i-1]))) &&
			(end == len(rest) || strings.ContainsRune(" \t\r\n\"',;", rune(rest[end]))) {
			return true
		}
		rest = rest[i+len(dir):]
	}
}

// common returns the deepest directory above all files, or "".
func common(files []string) string {
	if len(files) == 0 {
		return ""
	}
	dir := path.Dir(files[0])
	for _, f := range files[1:] {
		for dir != "/" && !strings.HasPrefix(f, dir+"/") {
			dir = path.Dir(dir)
		}
	}
	return dir
}

// Tidy sorts, and drops what lies inside another entry.
func Tidy(dirs []string) []string {
	var out []string
	for _, d := range dirs {
		out = append(out, path.Clean(d))
	}
	slices.Sort(out)
	out = slices.Compact(out)
	return slices.DeleteFunc(out, func(d string) bool {
		return slices.ContainsFunc(out, func(o string) bool {
			return o != d && o != "" && strings.HasPrefix(d, strings.TrimSuffix(o, "/")+"/")
		})
	})
}
