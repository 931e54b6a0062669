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
	// Others are the files that other members write.
	Others []string
	// Configs are the contents of small files that the arguments name.
	Configs []string
	// Given wins over everything found.
	Given []string
	// Known are directories of data whatever else is found.
	Known []string
}

// broad are directories that many programs share. A world never gets a copy of
// one because of a single file in it.
var broad = []string{
	"/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/media", "/mnt", "/opt", "/proc", "/root", "/run",
	"/sbin", "/srv", "/sys", "/tmp", "/usr", "/usr/lib", "/usr/local", "/usr/share", "/var", "/var/cache", "/var/lib",
	"/var/log", "/var/opt", "/var/run", "/var/spool", "/var/tmp", "/dev/shm",
}

func isBroad(dir string) bool {
	return slices.Contains(broad, dir) || path.Dir(dir) == "/home"
}

// DataDirs chooses the directories, and single files, that hold a member's
// data. For each written file it is the longest directory above it that the
// command line or a configuration file names; else the working directory, since
// many servers go where their data is. Where neither is above any file it is
// the directory that all files share. Files that are left bring only
// themselves, being logs most often, but those of them that share a directory
// bring that.
//
// A directory that is not named is never a broad one, nor one above another
// that is named, nor one that other members write to.
func DataDirs(in DataInput) []string {
	if len(in.Given) > 0 {
		return Tidy(in.Given)
	}
	if known := slices.DeleteFunc(slices.Clone(in.Known), isBroad); len(known) > 0 {
		in.Known = nil
		in.Written = slices.DeleteFunc(slices.Clone(in.Written), func(file string) bool {
			return slices.ContainsFunc(known, func(dir string) bool { return within(file, dir) })
		})
		in.Others = append(slices.Clone(in.Others), known...)
		return Tidy(append(known, DataDirs(in)...))
	}
	if in.Cwd != "" {
		in.Cwd = path.Clean(in.Cwd)
	}
	var found, unnamed, rest []string
	for _, file := range Tidy(in.Written) {
		if dir := named(in, file); dir != "" {
			found = append(found, dir)
		} else {
			unnamed = append(unnamed, file)
		}
	}
	taken := append(slices.Clone(found), in.Others...)
	own := func(dir string) bool { return dir != "" && !isBroad(dir) && !holds(dir, taken) }
	for _, file := range unnamed {
		if within(file, in.Cwd) && file != in.Cwd && own(in.Cwd) {
			found = append(found, in.Cwd)
		} else {
			rest = append(rest, file)
		}
	}
	if dir := common(rest); len(found) == 0 && own(dir) {
		return []string{dir}
	}
	return Tidy(append(found, gather(rest, own)...))
}

// gather returns a directory that all files share, if it can be the member's
// own. Else it parts the files by the next directory on their way, until each
// part has its own directory or is a single file. No file is above another.
func gather(files []string, own func(dir string) bool) (out []string) {
	if len(files) < 2 {
		return files
	}
	dir := common(files)
	if own(dir) {
		return []string{dir}
	}
	above := strings.TrimSuffix(dir, "/") + "/"
	parts := map[string][]string{}
	for _, f := range files {
		next, _, _ := strings.Cut(strings.TrimPrefix(f, above), "/")
		parts[next] = append(parts[next], f)
	}
	for _, part := range parts {
		out = append(out, gather(part, own)...)
	}
	return out
}

// holds reports whether one of the paths is dir or lies in it.
func holds(dir string, paths []string) bool {
	return slices.ContainsFunc(paths, func(p string) bool { return within(p, dir) })
}

// within reports whether p is dir or lies in it.
func within(p, dir string) bool {
	return dir != "" && (p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/"))
}

// common returns the deepest directory above all files, or "".
func common(files []string) string {
	if len(files) == 0 {
		return ""
	}
	dir := path.Dir(files[0])
	for _, f := range files[1:] {
		for dir != "/" && dir != "." && !strings.HasPrefix(f, dir+"/") {
			dir = path.Dir(dir)
		}
	}
	return dir
}

// Tidy sorts, and drops what lies inside another entry.
func Tidy(dirs []string) []string {
	var sorted []string
	for _, d := range dirs {
		sorted = append(sorted, path.Clean(d))
	}
	slices.Sort(sorted)
	sorted = slices.Compact(sorted)
	var out []string
	for _, d := range sorted {
		if !slices.ContainsFunc(sorted, func(o string) bool { return o != d && within(d, o) }) {
			out = append(out, d)
		}
	}
	return out
}
