// Package procfs reads what the kernel tells about processes, proc(5).
//
// Each format has a parser, which is a pure function of the bytes, and a thin
// reader that takes a process id. Some of them run while production is
// stopped: readers keep their buffers, and parsers allocate only what they
// return. Nothing here changes a process or keeps a descriptor open.
//
// A process may end at any moment. Readers then return an error for which
// errors.Is reports [io/fs.ErrNotExist] (it is gone) or [syscall.ESRCH] (it
// went while the file was read). A file that lacks a field, since the kernel
// is older, is not an error: the field stays zero. A field that is there and
// cannot be understood is.
package procfs
