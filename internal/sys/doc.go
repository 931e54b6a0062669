//go:build linux

// Package sys is the edge to the kernel: thin, typed wrappers of system calls
// that x/sys lacks or that need unsafe. It is the only package that imports
// unsafe and x/sys/unix. A wrapper does one call, retries nothing but EINTR
// where the man page allows it, and returns the errno wrapped in
// [os.SyscallError].
package sys
