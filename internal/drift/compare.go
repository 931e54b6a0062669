package drift

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Compare returns what of then is otherwise now.
func Compare(then, now Fingerprint) []Change {
	if then.Boot != now.Boot {
		// Nothing else can be the same.
		return []Change{{"the host", name(then.Host) + ", boot " + name(then.Boot), name(now.Host) + ", boot " + name(now.Boot), again}}
	}
	out := members(then.Members, now.Members)
	if !samePlace(then.Place, now.Place) {
		out = append(out, Change{"working directory " + then.Dir, place(then.Place), place(now.Place), again})
	}
	out = append(out, files(then.Files, now.Files)...)
	switch {
	case then.Config == nil:
	case now.Config == nil:
		out = append(out, Change{then.Config.Path, text(*then.Config), "not found", again})
	default:
		out = append(out, file(then.Config.Path, *then.Config, *now.Config)...)
	}
	return append(out, roles(then, now)...)
}

func members(then, now []Member) (out []Change) {
	for _, old := range then {
		at := slices.IndexFunc(now, func(m Member) bool { return m.Name == old.Name })
		if at < 0 {
			out = append(out, Change{"member " + old.Name, state(old), "no member", again})
			continue
		}
		out = append(out, member(old, now[at])...)
	}
	for _, m := range now {
		if !slices.ContainsFunc(then, func(old Member) bool { return old.Name == m.Name }) {
			out = append(out, Change{"member " + m.Name, "no member", state(m), again})
		}
	}
	return out
}

// member compares two that have one name.
func member(then, now Member) (out []Change) {
	who := "member " + then.Name
	add := func(what, was, is string) { out = append(out, Change{who + what, was, is, again}) }
	if then.PID == 0 {
		if now.PID != 0 || !slices.Equal(then.Up, now.Up) {
			add("", state(then), state(now))
			return out
		}
		if !slices.Equal(then.Args, now.Args) {
			add(": command", line(then.Args), line(now.Args))
		}
		if then.Data != now.Data {
			add(": data", name(then.Data), name(now.Data))
		}
		return out
	}
	if now.PID != then.PID || now.Start != then.Start || now.Gone != "" {
		add("", state(then), state(now)) // nothing else is the same process's
		return out
	}
	who = fmt.Sprintf("member %s (pid %d)", then.Name, then.PID)
	if !sameFile(then.Running, now.Running) {
		add(": executes", text(then.Running), text(now.Running))
	} else if then.Stack != now.Stack {
		add(": program", "executed once", "executed again")
	}
	out = append(out, file(who+": program "+then.Program.Path, then.Program, now.Program)...)
	if !slices.Equal(then.Args, now.Args) {
		add(": command line", line(then.Args), line(now.Args))
	}
	if !slices.Equal(then.UIDs, now.UIDs) || !slices.Equal(then.GIDs, now.GIDs) || !slices.Equal(then.Groups, now.Groups) {
		add(": user", user(then), user(now))
	}
	for _, kind := range slices.Sorted(maps.Keys(then.Spaces)) {
		if then.Spaces[kind] != now.Spaces[kind] {
			add(": "+kind+" namespace", fmt.Sprint(then.Spaces[kind]), fmt.Sprint(now.Spaces[kind]))
		}
	}
	return out
}

// state is whether m runs, in a few words.
func state(m Member) string {
	switch {
	case m.Gone != "":
		return "gone (" + m.Gone + ")"
	case m.PID != 0:
		return fmt.Sprintf("up as pid %d, started at tick %d", m.PID, m.Start)
	case len(m.Up) > 0:
		return "up as " + strings.Join(m.Up, ", ")
	}
	return "down"
}

func user(m Member) string {
	return fmt.Sprintf("uids %v, gids %v, groups %v", m.UIDs, m.GIDs, m.Groups)
}

func files(then, now []File) (out []Change) {
	for _, old := range then {
		at := slices.IndexFunc(now, func(f File) bool { return f.Path == old.Path })
		if at < 0 {
			out = append(out, Change{old.Path, text(old), "not named by the action any more", again})
			continue
		}
		out = append(out, file(old.Path, old, now[at])...)
	}
	for _, f := range now {
		if !slices.ContainsFunc(then, func(old File) bool { return old.Path == f.Path }) {
			out = append(out, Change{f.Path, "not there", text(f), again})
		}
	}
	return out
}

func file(what string, then, now File) []Change {
	if sameContent(then, now) {
		return nil
	}
	return []Change{{what, text(then), text(now), again}}
}

// sameContent reports whether a program behaves the same with both. Where the
// content was read, it does not matter whether the file was written anew.
func sameContent(a, b File) bool {
	if a.Sum == "" || b.Sum == "" {
		return sameFile(a, b) && a.Sum == b.Sum
	}
	return a.Sum == b.Sum && a.Mode == b.Mode
}

// sameFile reports whether both are one file that was not written to.
func sameFile(a, b File) bool {
	return samePlace(a, b) && a.Size == b.Size && a.Mtime.Equal(b.Mtime)
}

// samePlace reports whether both are one file. Directories are written to all
// the time.
func samePlace(a, b File) bool {
	return a.Dev == b.Dev && a.Inode == b.Inode && a.Mode == b.Mode && a.Err == b.Err
}

// text is a file on one line, but for its name.
func text(f File) string {
	switch {
	case f.Err != "":
		return "unreadable (" + f.Err + ")"
	case f.Inode == 0:
		return "not there"
	}
	parts := []string{fmt.Sprintf("%d bytes", f.Size), f.Mode}
	if f.Sum != "" {
		parts = append(parts, "sha256 "+f.Sum[:min(12, len(f.Sum))])
	}
	return strings.Join(append(parts, fmt.Sprintf("inode %d", f.Inode), "written "+f.Mtime.Format("2006-01-02 15:04:05.000")), " ")
}

func place(f File) string {
	if f.Err != "" {
		return "unreadable (" + f.Err + ")"
	}
	return fmt.Sprintf("inode %d of device %d, %s", f.Inode, f.Dev, f.Mode)
}

// roles compares what servers say of themselves, line by line.
func roles(then, now Fingerprint) (out []Change) {
	if then.RolesErr != now.RolesErr {
		return []Change{{"leader and members", answered(then), answered(now), again}}
	}
	lost := slices.DeleteFunc(slices.Clone(then.Roles), func(l string) bool { return slices.Contains(now.Roles, l) })
	found := slices.DeleteFunc(slices.Clone(now.Roles), func(l string) bool { return slices.Contains(then.Roles, l) })
	if len(lost)+len(found) == 0 {
		return nil
	}
	return []Change{{"leader and members", quoted(lost), quoted(found), again}}
}

func answered(f Fingerprint) string {
	if f.RolesErr != "" {
		return "unknown (" + f.RolesErr + ")"
	}
	return quoted(f.Roles)
}

func quoted(lines []string) string {
	if len(lines) == 0 {
		return "not so"
	}
	return fmt.Sprintf("%q", strings.Join(lines, "; "))
}

func line(args []string) string { return fmt.Sprintf("%q", args) }

func name(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
