//go:build linux

package victim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// member looks at who it is, and uses what such a
// process may use: files of its own, places for everybody, its terminal output.
func member(dir string) (step, error) {
	private := filepath.Join(dir, "private")
	if err := os.WriteFile(private, []byte("mine"), 0o600); err != nil {
		return nil, err
	}
	if os.Getenv("PILOT_VICTIM_HIDDEN") != "" {
		if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
			return nil, err
		}
	}
	was, err := identity()
	if err != nil {
		return nil, err
	}
	n := 0
	return func() (string, error) {
		n++
		now, err := identity()
		if err != nil || now != was {
			return "", fmt.Errorf("is %q (%v), was %q", now, err, was)
		}
		if text, err := os.ReadFile(private); err != nil || string(text) != "mine" {
			return "", fmt.Errorf("own file: %q, %w", text, err)
		}
		if err := os.WriteFile(filepath.Join(dir, "new"), []byte(fmt.Sprint(n)), 0o600); err != nil {
			return "", err
		}
		for _, place := range MemberPlaces {
			name := fmt.Sprintf("%s/%s%d", place, MemberPrefix, os.Getpid())
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				return "", err
			}
			// A world sees what the host has there now, not at the cut.
			if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return "", err
			}
		}
		out, err := os.OpenFile("/proc/self/fd/1", os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return "", err
		}
		return "", out.Close()
	}, nil
}

// MemberPlaces are where a member makes a file with this prefix for a moment. One
// that is killed then leaves it.
var MemberPlaces = []string{"/tmp", "/var/tmp", "/dev/shm"}

const MemberPrefix = "pilot-member-"

// Keeps returns those of a set of capabilities that a phantom has, too: the
// others, by their numbers in capabilities(7), reach out of a world.
func Keeps(caps uint64) uint64 {
	for _, c := range []int{16, 17, 19, 21, 22, 25, 27, 29, 30, 32, 33, 34, 9, 38, 39, 40} {
		caps &^= 1 << c
	}
	return caps
}

// identity is who the first thread is, and what it may do. The others are
// looked at by the test: descriptors for their files, which would be open at the
// moment of a fork, could not be made again before the threads are.
func identity() (string, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "", err
	}
	var rows []string
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch key {
		case "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb":
			n, err := strconv.ParseUint(value, 16, 64)
			if err != nil {
				return "", err
			}
			rows = append(rows, fmt.Sprintf("%s %#x", key, Keeps(n)))
		case "Uid", "Gid", "Groups", "NoNewPrivs":
			rows = append(rows, key+" "+value)
		}
	}
	// No such device. A filter may have another answer, and so tells that it acts.
	_, _, errno := unix.RawSyscall(unix.SYS_USTAT, 0xfffff, 0, 0)
	bits, err := unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0)
	if err != nil {
		return "", err
	}
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	return fmt.Sprintf("%s securebits %#x dumpable %d ustat %q", rows, bits, dumpable, errno), err
}
