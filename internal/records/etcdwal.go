package records

import (
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/pilotexec/pilot/internal/model"
)

// The write-ahead log of etcd: frames of a length and a walpb.Record, padded to
// 8 bytes, up to a length of zero. A record is an entry of Raft, its hard state,
// or a mark that a snapshot was taken.
//
// See etcd: server/storage/wal/decoder.go, server/storage/wal/wal.go (types of
// records) and raft: raftpb/raft.proto.

const (
	walEntry    = 2
	walState    = 3
	walSnapshot = 5
)

var (
	etcdWALName  = regexp.MustCompile(`^[0-9a-f]{16}-[0-9a-f]{16}\.wal$`)
	etcdSnapName = regexp.MustCompile(`^[0-9a-f]{16}-[0-9a-f]{16}\.snap$`)
)

func isEtcdWAL(f File) bool  { return etcdWALName.MatchString(f.base()) }
func isEtcdSnap(f File) bool { return etcdSnapName.MatchString(f.base()) }

// A raftLog is what a log says of itself.
type raftLog struct {
	entries      int64
	first, last  uint64 // 0 when there is no entry
	term         uint64 // of the last entry, or of the hard state
	commit       uint64
	snapshot     uint64 // index of the newest
	snapshotTerm uint64
}

// settled is the highest index that is known to be agreed on.
func (l raftLog) settled() uint64 { return max(l.commit, l.snapshot) }

func (l raftLog) text() string {
	if l.entries == 0 {
		return join("no entries", fmt.Sprintf("committed %d", l.settled()))
	}
	return join(span("entries", l.first, l.last), fmt.Sprintf("term %d", l.term), fmt.Sprintf("committed %d", l.settled()))
}

func lookEtcdWAL(f File, b *Budget) (Content, error) {
	var l raftLog
	err := l.read(f, b)
	return Content{Format: "etcd wal", Text: l.text(), Records: l.entries}, err
}

// read adds a file of the log.
func (l *raftLog) read(f File, b *Budget) error {
	r := read(f, b)
	for r.left() >= 8 {
		head, err := r.take(8)
		if err != nil {
			return err
		}
		length := binary.LittleEndian.Uint64(head)
		if length == 0 {
			return nil // what follows was only reserved
		}
		size, pad := length&^(0xff<<56), uint64(0)
		if length>>63 == 1 {
			pad = length >> 56 & 7
		}
		if size > uint64(r.left()) {
			return r.cut()
		}
		rec, err := r.take(int(size + pad))
		if err != nil {
			return err
		}
		if !l.record(rec[:size]) {
			return fmt.Errorf("broken at byte %d", r.pos)
		}
	}
	return nil
}

func (l *raftLog) record(rec []byte) bool {
	var kind uint64
	var data []byte
	ok := proto(rec, func(field int, v uint64, b []byte) bool {
		switch field {
		case 1:
			kind = v
		case 3:
			data = b
		}
		return true
	})
	if !ok {
		return false
	}
	switch kind {
	case walEntry:
		return l.entry(data)
	case walState:
		return proto(data, func(field int, v uint64, _ []byte) bool {
			switch field {
			case 1:
				l.term = max(l.term, v)
			case 3:
				l.commit = v
			}
			return true
		})
	case walSnapshot:
		return proto(data, func(field int, v uint64, _ []byte) bool {
			if field == 1 {
				l.snapshot = max(l.snapshot, v)
			}
			return true
		})
	}
	return true
}

func (l *raftLog) entry(data []byte) bool {
	var index, term uint64
	ok := proto(data, func(field int, v uint64, _ []byte) bool {
		switch field {
		case 2:
			term = v
		case 3:
			index = v
		}
		return field < 4 // then comes the payload
	})
	if !ok {
		return false
	}
	// A new leader writes again what its predecessor's minority did not keep.
	if l.entries == 0 || index <= l.first {
		l.first = index
	}
	l.last, l.term = index, term
	l.entries = signed(l.last-l.first) + 1
	return true
}

// lookEtcdSnap reads the snapshot of Raft's state, without the keys: snappb.Snapshot
// around raftpb.Snapshot. See etcd: server/etcdserver/api/snap/snappb/snap.proto.
func lookEtcdSnap(f File, b *Budget) (Content, error) {
	index, term, err := readEtcdSnap(f, b)
	return Content{Format: "etcd snapshot", Text: fmt.Sprintf("at index %d, term %d", index, term), Records: signed(index)}, err
}

func readEtcdSnap(f File, b *Budget) (index, term uint64, err error) {
	if f.Size > maxTake {
		return 0, 0, errBudget
	}
	text, err := read(f, b).take(int(f.Size))
	if err != nil {
		return 0, 0, err
	}
	ok := proto(text, func(field int, _ uint64, inner []byte) bool {
		return field != 2 || proto(inner, func(field int, _ uint64, meta []byte) bool {
			return field != 2 || proto(meta, func(field int, v uint64, _ []byte) bool {
				switch field {
				case 2:
					index = v
				case 3:
					term = v
				}
				return true
			})
		})
	})
	if !ok || index == 0 {
		return 0, 0, errors.New("broken")
	}
	return index, term, nil
}

// readEtcd is the store of an etcd: its log, its snapshots and its database.
func readEtcd(files []File, b *Budget) (figures []Figure, err error) {
	var log raftLog
	var wal []File
	var db *File
	for _, f := range files {
		switch {
		case isEtcdWAL(f):
			wal = append(wal, f)
		case isEtcdSnap(f):
			// A snapshot that is broken is left out, as etcd does.
			if index, _, err := readEtcdSnap(f, b); isBudget(err) {
				return nil, err
			} else if err == nil {
				log.snapshot = max(log.snapshot, index)
			}
		case f.base() == "db":
			db = &f
		}
	}
	slices.SortFunc(wal, byPath)
	// The hard state is written again and again, so the newest file has the last.
	for _, f := range slices.Backward(wal) {
		if err := log.read(f, b); isBudget(err) {
			return nil, err
		}
		if log.commit > 0 {
			break
		}
	}
	figures = append(figures, Figure{"committed index", model.FigurePosition, signed(log.settled())})
	if db == nil {
		return append(figures, Figure{"revision", model.FigurePosition, 0}, Figure{"keys", model.FigureCount, 0}), nil
	}
	revision, err := readEtcdRevision(*db, b)
	if err != nil {
		return figures, err
	}
	figures = append(figures, Figure{"revision", model.FigurePosition, revision})
	kv, err := readEtcdKeys(*db, b)
	if err != nil {
		return figures, err
	}
	return append(figures, Figure{"keys", model.FigureCount, kv.keys}), nil
}
