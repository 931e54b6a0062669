package procfs

import "strings"

// A Mount is one mount of a process's mount namespace, proc_pid_mountinfo(5).
type Mount struct {
	ID, Parent int
	Dev        uint64 // as st_dev has it, but for file systems with subvolumes
	Root       string // what of the file system is mounted
	Point      string // relative to the process's root directory
	Options    string // of this mount, such as "rw,relatime"
	// Peer groups of propagation, mount_namespaces(7); 0 for none.
	Shared, Master, PropagateFrom int
	Unbindable                    bool
	FSType                        string
	Source                        string
	SuperOptions                  string // of the file system
}

// ReadOnly reports whether nothing can be written through m.
func (m Mount) ReadOnly() bool {
	has := func(options string) bool { return options == "ro" || strings.HasPrefix(options, "ro,") }
	return has(m.Options) || has(m.SuperOptions)
}

// Mountinfo reads /proc/PID/mountinfo.
func Mountinfo(pid int) ([]Mount, error) { return parsed(path(pid, "mountinfo"), ParseMountinfo) }

// ParseMountinfo parses the content of /proc/PID/mountinfo.
func ParseMountinfo(text []byte) (out []Mount, err error) {
	for row := range lines(text) {
		l := line{rest: row}
		m := parseMount(&l)
		if l.bad {
			return nil, malformed("mountinfo", row)
		}
		out = append(out, m)
	}
	return out, nil
}

// escaped are the bytes that mangle, fs/proc_namespace.c, writes in octal.
const escaped = " \t\n\\#"

// parseMount parses a row.
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
func parseMount(l *line) (m Mount) {
	m.ID = int(l.int())
	m.Parent = int(l.int())
	m.Dev = Mkdev(l.device(l.word(), 10))
	m.Root = unescape(l.word(), escaped)
	m.Point = unescape(l.word(), escaped)
	m.Options = unescape(l.word(), escaped)
	for tag := l.word(); string(tag) != "-" && !l.bad; tag = l.word() {
		m.tag(tag, l)
	}
	m.FSType = unescape(l.word(), escaped)
	l.expect(m.Options != "" && m.FSType != "")
	// The source may be empty, and leaves two blanks then.
	l.rest = []byte(strings.TrimPrefix(string(l.rest), " "))
	source, super, ok := strings.Cut(string(l.rest), " ")
	l.expect(ok)
	m.Source = unescape([]byte(source), escaped)
	m.SuperOptions = unescape([]byte(super), escaped)
	return m
}

// tag takes an optional field. Those of later kernels are skipped.
func (m *Mount) tag(tag []byte, l *line) {
	l.expect(len(tag) > 0)
	key, value, _ := strings.Cut(string(tag), ":")
	var group *int
	switch key {
	case "shared":
		group = &m.Shared
	case "master":
		group = &m.Master
	case "propagate_from":
		group = &m.PropagateFrom
	case "unbindable":
		m.Unbindable = true
	}
	if group != nil {
		*group = int(l.number([]byte(value), 10, 31))
	}
}
