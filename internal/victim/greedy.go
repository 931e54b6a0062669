//go:build linux

package victim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Go is the file in a victim's directory that makes it greedy. Since a world
// has a copy of the directory, a phantom can be made so and its origin not.
const Go = "go"

// asked returns what the file [Go] says, and whether it is there.
func asked(dir string) (string, bool, error) {
	text, err := os.ReadFile(filepath.Join(dir, Go))
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	return strings.TrimSpace(string(text)), err == nil, err
}

// hungry takes 8 MiB more in each round, until there is no more. Then it gives the last
// of it back, which Go's runtime needs to live on.
func hungry(dir string) (step, error) {
	const size = 8 << 20
	var last []byte
	var end error
	return func() (string, error) {
		_, greedy, err := asked(dir)
		if !greedy || err != nil || end != nil {
			return "", errors.Join(err, end)
		}
		mem, err := mmap(-1, size, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil && last != nil {
			end = err
			return "", errors.Join(end, unix.Munmap(last))
		}
		last = mem
		for at := 0; at < len(mem); at += 4096 {
			mem[at] = 1
		}
		return "", err
	}, nil
}

// writer appends 4 MiB in each round to the file that it is told, which loses
// its name when that ends with "-nameless".
func writer(dir string) (step, error) {
	var to *os.File
	block := make([]byte, 4<<20)
	for i := range block {
		block[i] = byte(i * 7)
	}
	return func() (string, error) {
		path, greedy, err := asked(dir)
		if !greedy || err != nil || path == "" {
			return "", err
		}
		if to == nil {
			if to, err = os.Create(path); err != nil {
				return "", err
			}
			if strings.HasSuffix(path, "-nameless") {
				err = os.Remove(path)
			}
			if err != nil {
				return "", err
			}
		}
		_, err = to.Write(block)
		return "", err
	}, nil
}

// spinner keeps every processor busy. Its note is how often it went round, and
// when.
func spinner(string) (step, error) {
	var turns atomic.Uint64
	for range runtime.NumCPU() {
		go func() {
			runtime.LockOSThread()
			for x := uint64(1); ; turns.Add(1) {
				for range 10_000 {
					x = x*6364136223846793005 + 1442695040888963407
				}
				sink.Store(x)
			}
		}()
	}
	return func() (string, error) { return fmt.Sprint(turns.Load(), " ", time.Now().UnixNano()), nil }, nil
}

// sink keeps the compiler from leaving the work out.
var sink atomic.Uint64
