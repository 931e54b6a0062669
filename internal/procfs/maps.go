package procfs

import (
	"bytes"
	"slices"
)

// A VMA is one mapping of a process, proc_pid_maps(5).
type VMA struct {
	Start, End uint64
	Read       bool
	Write      bool
	Exec       bool
	Shared     bool
	Offset     uint64
	// Dev is the device of the file system, encoded as st_dev is. On file
	// systems with subvolumes (btrfs) st_dev of the file differs.
	Dev      uint64
	DevMajor uint32
	DevMinor uint32
	Inode    uint64
	// Path is a file, or a name that the kernel gives such as "[stack]",
	// "[anon:Go: heap]", "/memfd:x", "/SYSV00000000", "/[aio]". Of a file that
	// has been removed it is the last path; Deleted is then set. A file whose
	// name ends with " (deleted)" looks the same.
	Path    string
	Deleted bool

	// What follows is read by [Smaps] only, proc_pid_smaps(5).

	// Flags are the codes of VmFlags, such as "dc" for MADV_DONTFORK.
	Flags []string
	Usage
}

// Usage tells how much of a mapping is in memory, in bytes.
type Usage struct {
	Rss           uint64
	Anonymous     uint64
	AnonHugePages uint64
	SharedClean   uint64
	SharedDirty   uint64
	PrivateClean  uint64
	PrivateDirty  uint64
	Hugetlb       uint64 // shared and private
	Swap          uint64
	Locked        uint64
}

// Has reports whether flag is one of v's VmFlags.
func (v VMA) Has(flag string) bool { return slices.Contains(v.Flags, flag) }

// Size returns the length of v in bytes.
func (v VMA) Size() uint64 { return v.End - v.Start }

// Maps reads /proc/PID/maps.
func Maps(pid int) ([]VMA, error) { return parsed(path(pid, "maps"), ParseMaps) }

// Smaps reads /proc/PID/smaps. The kernel walks all page tables for it, so it
// costs far more than [Maps].
func Smaps(pid int) ([]VMA, error) { return parsed(path(pid, "smaps"), ParseSmaps) }

// ParseMaps parses the content of /proc/PID/maps.
func ParseMaps(text []byte) ([]VMA, error) {
	out := make([]VMA, 0, bytes.Count(text, []byte{'\n'})+1)
	for l := range lines(text) {
		v, err := parseVMA(l)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// ParseSmaps parses the content of /proc/PID/smaps.
func ParseSmaps(text []byte) ([]VMA, error) {
	out := make([]VMA, 0, bytes.Count(text, []byte("\nVmFlags:"))+1)
	for l := range lines(text) {
		if first, _, _ := bytes.Cut(l, []byte{' '}); !bytes.HasSuffix(first, []byte{':'}) {
			v, err := parseVMA(l)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
			continue
		}
		if len(out) == 0 || !out[len(out)-1].detail(l) {
			return nil, malformed("smaps", l)
		}
	}
	return out, nil
}

// parseVMA parses the line that begins a mapping.
func parseVMA(text []byte) (v VMA, err error) {
	l := line{rest: text}
	v.Start = l.number(l.upTo('-'), 16, 64)
	v.End = l.uint(16, 64)
	perms := l.word()
	if len(perms) != 4 {
		return v, malformed("maps", text)
	}
	v.Read, v.Write, v.Exec, v.Shared = perms[0] == 'r', perms[1] == 'w', perms[2] == 'x', perms[3] == 's'
	v.Offset = l.uint(16, 64)
	v.DevMajor, v.DevMinor = l.device(l.word(), 16)
	v.Dev = Mkdev(v.DevMajor, v.DevMinor)
	v.Inode = l.uint(10, 64)
	if l.bad || v.End < v.Start {
		return v, malformed("maps", text)
	}
	// The column is filled with blanks. No path begins with one.
	name := bytes.TrimLeft(l.rest, " ")
	name, v.Deleted = bytes.CutSuffix(name, []byte(" (deleted)"))
	v.Path = unescape(name, "\n")
	return v, nil
}

// detail takes in one of the lines below a mapping. Those of no use are skipped.
func (v *VMA) detail(text []byte) bool {
	l := line{rest: text}
	key := l.word()
	if string(key) == "VmFlags:" {
		v.Flags = vmFlags(l.rest)
		return true
	}
	at := v.amount(key)
	if at == nil {
		return true
	}
	kb := l.uint(10, 54)
	l.expect(string(l.word()) == "kB")
	*at += kb << 10
	return !l.bad
}

// amount returns where the number behind key belongs, nil for none.
func (u *Usage) amount(key []byte) *uint64 {
	switch string(key) {
	case "Rss:":
		return &u.Rss
	case "Anonymous:":
		return &u.Anonymous
	case "AnonHugePages:":
		return &u.AnonHugePages
	case "Shared_Clean:":
		return &u.SharedClean
	case "Shared_Dirty:":
		return &u.SharedDirty
	case "Private_Clean:":
		return &u.PrivateClean
	case "Private_Dirty:":
		return &u.PrivateDirty
	case "Shared_Hugetlb:", "Private_Hugetlb:":
		return &u.Hugetlb
	case "Swap:":
		return &u.Swap
	case "Locked:":
		return &u.Locked
	}
	return nil
}

// vmFlags splits the codes of VmFlags.
func vmFlags(codes []byte) []string {
	out := make([]string, 0, (len(codes)+2)/3)
	for l := (line{rest: codes}); ; {
		code := l.word()
		if len(code) == 0 {
			return out
		}
		out = append(out, flagName(code))
	}
}

// known are the codes of show_smap_vma_flags, fs/proc/task_mmu.c. Looking them
// up saves making a string of each.
const known = "rdwrexshmrmwmemsgdpflolrrriosrradcdedpacnrhtsfarwfddsdmmhgnhmgbtumuwuissslgupkdpp0p1p2p3p4"

func flagName(code []byte) string {
	if len(code) == 2 {
		for i := 0; i < len(known); i += 2 {
			if known[i] == code[0] && known[i+1] == code[1] {
				return known[i : i+2]
			}
		}
	}
	return string(code)
}
