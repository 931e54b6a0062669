//go:build linux

package osthread

import (
	"os"
	"syscall"
	"testing"
)

// TestLeaderIsSpared wants that no Thread is the process's leading one.
func TestLeaderIsSpared(t *testing.T) {
	for range 20 {
		thread := New()
		defer thread.Close()
		_ = thread.Do(func() error {
			if syscall.Gettid() == os.Getpid() {
				t.Error("a Thread runs on the leading thread")
			}
			return nil
		})
	}
}
