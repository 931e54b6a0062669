package records

import "fmt"

// Types of transactions, see ZooKeeper: ZooDefs.java.
const (
	zkCreate          = 1
	zkDelete          = 2
	zkMulti           = 14
	zkCreate2         = 15
	zkCreateContainer = 19
	zkDeleteContainer = 20
	zkCreateTTL       = 21
	zkCloseSession    = -11
)

// A zkLog reads a transaction log.
type zkLog struct {
	// tree gets the changes of transactions after that one. May be nil.
	tree  *tree
	after uint64

	transactions int64
	first, last  uint64
}

func lookZKLog(f File, b *Budget) (Content, error) {
	var l zkLog
	err := l.read(f, b)
	text := "no transactions"
	if l.transactions > 0 {
		text = fmt.Sprintf("%s, zxid %s..%s", counted(l.transactions, "transaction"), zxid(l.first), zxid(l.last))
	}
	return Content{Format: "zookeeper log", Text: text, Records: l.transactions}, err
}

func (l *zkLog) read(f File, b *Budget) error {
	r := read(f, b)
	if err := r.zkHeader(); err != nil {
		return err
	}
	for r.left() > 12 {
		if _, err := r.be64(); err != nil { // checksum
			return err
		}
		size, err := r.be32()
		if err != nil || size == 0 { // what follows was only reserved
			return err
		}
		txn, err := r.take(int(int32(size)))
		if err != nil {
			return err
		}
		if err := l.transaction(txn); err != nil {
			return err
		}
		if end, err := r.u8(); err != nil || end != 'B' {
			return fmt.Errorf("broken at byte %d", r.pos)
		}
	}
	return nil
}

// transaction reads client, cxid, zxid, time, type, and what the type has.
func (l *zkLog) transaction(txn []byte) error {
	t := bytesReader(txn)
	client, err := t.be64()
	if err != nil {
		return err
	}
	if err := t.skip(4); err != nil {
		return err
	}
	id, err := t.be64()
	if err != nil {
		return err
	}
	if err := t.skip(8); err != nil {
		return err
	}
	kind, err := t.be32()
	if err != nil {
		return err
	}
	if l.transactions == 0 {
		l.first = id
	}
	l.transactions++
	l.last = id
	if l.tree == nil {
		return nil
	}
	return l.tree.apply(t, int32(kind), client, id <= l.after, 0)
}

// apply changes the tree as a transaction does, but for one that is old: those
// are in the snapshot. One that is not understood, or
// that is cut short as a session's end was in old versions, changes nothing.
func (t *tree) apply(r *reader, kind int32, client uint64, old bool, depth int) error {
	if old && kind != zkDelete && kind != zkDeleteContainer && kind != zkMulti {
		return nil
	}
	switch kind {
	case zkCreate, zkCreate2, zkCreateContainer, zkCreateTTL:
		path, err := r.zkBytes()
		if err != nil {
			return nil
		}
		path = append([]byte(nil), path...)
		owner := uint64(0)
		if kind == zkCreate || kind == zkCreate2 {
			if r.skipZKBytes() != nil || r.skipZKACL() != nil {
				return nil
			}
			if ephemeral, err := r.u8(); err == nil && ephemeral != 0 {
				owner = client
			}
		}
		return t.add(path, owner)
	case zkDelete, zkDeleteContainer:
		t.deleted++
		if path, err := r.zkBytes(); err == nil && !old {
			t.remove(path)
		}
	case zkCloseSession:
		t.end(client)
	case zkMulti:
		return t.multi(r, client, old, depth)
	}
	return nil
}

// multi applies transactions that are one: types, and their bytes.
func (t *tree) multi(r *reader, client uint64, old bool, depth int) error {
	n, err := r.be32()
	if err != nil || depth > 0 {
		return nil
	}
	for range n {
		kind, err := r.be32()
		if err != nil {
			return nil
		}
		inner, err := r.zkBytes()
		if err != nil {
			return nil
		}
		if err := t.apply(bytesReader(inner), int32(kind), client, old, depth+1); err != nil {
			return err
		}
	}
	return nil
}
