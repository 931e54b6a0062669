package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// StartTime reads field 22 of /proc/PID/stat, see proc_pid_stat(5).
func StartTime(pid int) (uint64, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	return parseStartTime(string(text))
}

// parseStartTime skips to the last parenthesis: the program's name before it
// may hold any character.
func parseStartTime(stat string) (uint64, error) {
	rest := stat[strings.LastIndexByte(stat, ')')+1:]
	fields := strings.Fields(rest)
	const at = 22 - 3 // rest starts with field 3
	if len(fields) <= at {
		return 0, fmt.Errorf("stat has %d fields after the name", len(fields))
	}
	return strconv.ParseUint(fields[at], 10, 64)
}

// mountsBelow returns the mount points at and below dir, none when dir is gone.
func mountsBelow(dir string) ([]string, error) {
	real, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile("/proc/self/mountinfo")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // not Linux: pilot mounts nothing there
	}
	if err != nil {
		return nil, err
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		if point := mountPoint(line); point == real || strings.HasPrefix(point, real+"/") {
			found = append(found, point)
		}
	}
	return found, nil
}

// mountPoint is field 5 of a line of mountinfo, see proc_pid_mountinfo(5).
func mountPoint(line string) string {
	fields := strings.Fields(line)
	if len(fields) < 5 {
		return ""
	}
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(fields[4])
}
