//go:build linux

package trace

import (
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"golang.org/x/sys/unix"
)

// dirfds is the argument that a call's path is relative to; the second path's is
// behind the first path. Others are relative to the working directory.
var dirfds = map[uint32]int{
	unix.SYS_OPENAT: 0, unix.SYS_OPENAT2: 0, unix.SYS_MKDIRAT: 0, unix.SYS_MKNODAT: 0, unix.SYS_LINKAT: 2,
	unix.SYS_SYMLINKAT: 1, unix.SYS_UNLINKAT: 0, unix.SYS_RENAMEAT: 0, unix.SYS_RENAMEAT2: 0,
}

func (r *Recording) first(rec *record) string {
	dirfd := int32(unix.AT_FDCWD)
	if arg, ok := dirfds[rec.nr]; ok {
		dirfd = int32(rec.args[arg])
	}
	return r.resolve(rec, rec.path(0), dirfd)
}

func (r *Recording) second(rec *record) string {
	dirfd := int32(unix.AT_FDCWD)
	if rec.nr != unix.SYS_RENAME {
		dirfd = int32(rec.args[2])
	}
	return r.resolve(rec, rec.path(1), dirfd)
}

// open learns the name of a file that may be written, and tells if it is new
// or emptied.
func (r *Recording) open(rec *record) {
	path := r.first(rec)
	key := counted{rec.inode, uint32(rec.pid)}
	r.settle(key, rec.bytes, rec.count)
	r.paths[rec.inode] = path
	if rec.mode&unix.S_IFMT != unix.S_IFREG {
		return
	}
	kind := ""
	switch {
	case rec.fmode&fmodeCreated != 0:
		kind = model.EventCreate
	case rec.truncates():
		kind = model.EventTruncate
	default:
		return
	}
	rec.ret = 0
	e := r.event(rec, kind)
	e.Object, e.Stack = path, r.stack(rec)
	r.forget(path)
	r.add(e)
}

// truncates reports whether an open call empties the file. The kernel keeps no
// O_TRUNC in the flags of the open file description.
func (rec *record) truncates() bool {
	switch rec.nr {
	case unix.SYS_CREAT:
		return true
	case unix.SYS_OPEN:
		return rec.args[1]&unix.O_TRUNC != 0
	case unix.SYS_OPENAT:
		return rec.args[2]&unix.O_TRUNC != 0
	}
	return false
}

// forget lets the next write to a path be told anew.
func (r *Recording) forget(path string) {
	for w := range r.writes {
		if w.path == path {
			delete(r.writes, w)
		}
	}
}

// settle takes over what the kernel has counted of writes: all of it, with the
// first, which is told already.
func (r *Recording) settle(key counted, bytes, count int64) {
	i, ok := r.counted[key]
	if !ok || count == 0 {
		return
	}
	delete(r.counted, key)
	if i < 0 {
		return
	}
	r.calls[i] += int(count)
	r.events[i].Bytes += bytes
	if r.calls[i] > 1 {
		r.events[i].Count = r.calls[i]
	}
}

// bytes tells of the first write to a file, and of the end of a connection.
func (r *Recording) bytes(rec *record, received bool) {
	if rec.mode&unix.S_IFMT == unix.S_IFSOCK {
		kind := model.EventSend
		if received {
			kind = model.EventReceive
		}
		e := r.event(rec, kind)
		e.Object, e.Conn, e.Offset = "tcp "+rec.remote.String(), r.conn(rec), rec.offset
		if r.t.level == Full && received {
			e.Took = time.Duration(rec.took)
		}
		r.add(e)
		return
	}
	fd := int(int32(rec.args[0]))
	if rec.nr == unix.SYS_COPY_FILE_RANGE {
		fd = int(int32(rec.args[2]))
	}
	path, known := r.paths[rec.inode]
	if !known {
		if path = r.fdPath(rec.hostPID, fd); path == "" && r.isOutput(uint64(rec.offset)) {
			path = Output
		}
		r.paths[rec.inode] = path
	}
	e := r.event(rec, model.EventWrite)
	e.Object, e.Stack = path, r.stack(rec)
	if rec.ret < 0 {
		r.add(e)
		return
	}
	key := write{e.PID, path}
	i, merged := r.writes[key]
	if !merged {
		i = r.add(e)
		r.writes[key] = i
	}
	r.counted[counted{rec.inode, uint32(rec.pid)}] = i
}

// file tells of a call on paths, or on a file that is open.
func (r *Recording) file(rec *record, what uint32) {
	path := ""
	if what&(0xf<<pathShift) != 0 {
		path = r.first(rec)
	} else if known, ok := r.paths[rec.inode]; ok {
		path = known
	} else {
		path = r.fdPath(rec.hostPID, int(int32(rec.args[0])))
	}
	var e model.Event
	switch rec.nr {
	case unix.SYS_MKDIR, unix.SYS_MKDIRAT, unix.SYS_MKNOD, unix.SYS_MKNODAT, unix.SYS_LINK, unix.SYS_LINKAT, unix.SYS_SYMLINK, unix.SYS_SYMLINKAT:
		e = r.event(rec, model.EventCreate)
	case unix.SYS_UNLINK, unix.SYS_UNLINKAT, unix.SYS_RMDIR:
		e = r.event(rec, model.EventRemove)
	case unix.SYS_RENAME, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2:
		e = r.event(rec, model.EventRename)
		e.To = r.second(rec)
		for inode, known := range r.paths {
			if known == path {
				r.paths[inode] = e.To
			}
		}
		r.forget(e.To)
	case unix.SYS_TRUNCATE, unix.SYS_FTRUNCATE:
		e = r.event(rec, model.EventTruncate)
	default:
		e = r.event(rec, model.EventSync)
		e.Took = time.Duration(rec.took)
	}
	e.Object = path
	if e.Kind != model.EventSync {
		r.forget(path)
	}
	r.add(e)
}
