package procfs

import (
	"os"
	"strconv"
)

// FDs lists the open descriptors of a process, ascending: proc_pid_fd(5).
func FDs(pid int) ([]int, error) { return numbers(path(pid, "fd")) }

// FDLink returns what a descriptor refers to: a path, or a name of the kernel's
// such as "socket:[4711]", "pipe:[4711]", "anon_inode:[eventpoll]".
func FDLink(pid, fd int) (string, error) {
	return os.Readlink(path(pid, "fd/"+strconv.Itoa(fd)))
}
