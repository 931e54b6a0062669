package records

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
)

// A database of bbolt: pages with the branches and leaves of B+ trees, one for
// each bucket; the two first pages are copies of what says where the root is,
// of which the newest that is whole counts. The file is read, never mapped or
// locked. See bbolt: internal/common/page.go, meta.go, bucket.go.

const (
	boltMagic      = "\xed\xda\x0c\xed" // 0xED0CDAED, little endian
	boltHeader     = 16
	boltBranchPage = 1
	boltLeafPage   = 2
	boltBucketFlag = 1
	boltMetaSum    = 56 // bytes of the meta page's body before its checksum
	maxBoltDepth   = 40
	maxBoltNames   = 12 // buckets named in a text
)

func isBolt(f File) bool {
	return begins(f, boltHeader, boltMagic) || begins(f, 4096+boltHeader, boltMagic)
}

// A bolt is a database that is being read.
type bolt struct {
	r        *reader
	pageSize int64
	root     uint64
	pages    uint64 // in use
	visited  uint64
	// last leaves out all but the last item of each page.
	last bool
}

// A boltItem is a key in a bucket, or a bucket.
type boltItem struct {
	key, value []byte
	bucket     bool
}

var errBolt = errors.New("broken")

func openBolt(f File, b *Budget) (*bolt, error) {
	d := &bolt{r: read(f, b)}
	best := uint64(0)
	// The second copy is one page further, whose size only a copy tells.
	for _, at := range []int64{0, 4096, 8192, 16384, 65536} {
		if at+boltHeader+boltMetaSum+8 > f.Size {
			break
		}
		d.r.pos = at + boltHeader
		m, err := d.r.take(boltMetaSum + 8)
		if err != nil {
			return nil, err
		}
		sum := fnv.New64a()
		_, _ = sum.Write(m[:boltMetaSum]) // never fails
		if string(m[:4]) != boltMagic || binary.LittleEndian.Uint64(m[boltMetaSum:]) != sum.Sum64() {
			continue
		}
		txid := binary.LittleEndian.Uint64(m[48:])
		size := int64(binary.LittleEndian.Uint32(m[8:]))
		if size < 512 || size > 1<<20 || d.pageSize != 0 && txid < best {
			continue
		}
		best, d.pageSize = txid, size
		d.root = binary.LittleEndian.Uint64(m[16:])
		d.pages = binary.LittleEndian.Uint64(m[40:])
	}
	if d.pageSize == 0 {
		return nil, errBolt
	}
	d.pages = min(d.pages, uint64(f.Size/d.pageSize)) // a broken file may have cycles
	return d, nil
}

// walk goes through what is in the bucket whose root is page id, in order.
func (d *bolt) walk(id uint64, depth int, visit func(boltItem) error) error {
	d.visited++
	if depth > maxBoltDepth || id >= d.pages || d.visited > d.pages || id > 1<<40 {
		return errBolt
	}
	d.r.pos = int64(id) * d.pageSize
	head, err := d.r.take(boltHeader)
	if err != nil {
		return err
	}
	size := d.pageSize * (1 + int64(binary.LittleEndian.Uint32(head[12:])))
	if size > maxTake {
		return errBudget
	}
	d.r.pos -= boltHeader
	whole, err := d.r.take(int(size))
	if err != nil {
		return err
	}
	return d.page(append([]byte(nil), whole...), depth, visit) // below, others are read
}

// page goes through one page, which may lie in a value.
func (d *bolt) page(p []byte, depth int, visit func(boltItem) error) error {
	flags, count := binary.LittleEndian.Uint16(p[8:]), int(binary.LittleEndian.Uint16(p[10:]))
	if boltHeader+16*count > len(p) {
		return errBolt
	}
	first := 0
	if d.last {
		first = max(0, count-1)
	}
	for i := first; i < count; i++ {
		at := boltHeader + 16*i
		e := p[at : at+16]
		switch {
		case flags&boltLeafPage != 0:
			pos, ksize, vsize := u32(e[4:]), u32(e[8:]), u32(e[12:])
			if at+pos+ksize+vsize > len(p) {
				return errBolt
			}
			data := p[at+pos:]
			if err := visit(boltItem{data[:ksize], data[ksize : ksize+vsize], u32(e)&boltBucketFlag != 0}); err != nil {
				return err
			}
		case flags&boltBranchPage != 0:
			if err := d.walk(binary.LittleEndian.Uint64(e[8:]), depth+1, visit); err != nil {
				return err
			}
		default:
			return errBolt
		}
	}
	return nil
}

// u32 is a number that can be added to others without harm.
func u32(b []byte) int { return int(binary.LittleEndian.Uint32(b)) }

// bucket goes through what is in a bucket, given its value in its parent: a root
// page, a sequence and, when it is small, the page itself.
func (d *bolt) bucket(value []byte, visit func(boltItem) error) error {
	if len(value) < 16 {
		return errBolt
	}
	if root := binary.LittleEndian.Uint64(value); root != 0 {
		return d.walk(root, 0, visit)
	}
	if len(value) < 16+boltHeader {
		return errBolt
	}
	return d.page(value[16:], 0, visit)
}

// each calls f for every bucket of the root.
func (d *bolt) each(f func(name string, value []byte) error) error {
	return d.walk(d.root, 0, func(i boltItem) error {
		if !i.bucket {
			return nil
		}
		return f(string(i.key), i.value)
	})
}

func lookBolt(f File, b *Budget) (Content, error) {
	c := Content{Format: "bbolt"}
	d, err := openBolt(f, b)
	if err != nil {
		return c, err
	}
	var names []string
	err = d.each(func(name string, value []byte) error {
		keys := int64(0)
		err := d.bucket(value, func(i boltItem) error { keys++; return nil })
		c.Records += keys
		names = append(names, fmt.Sprintf("%s %d", printable(name), keys))
		return err
	})
	more := ""
	if len(names) > maxBoltNames {
		more = fmt.Sprintf(" and %d buckets more", len(names)-maxBoltNames)
		names = names[:maxBoltNames]
	}
	c.Text = fmt.Sprintf("%d pages, keys: %s%s", d.pages, strings.Join(names, ", "), more)
	if kv, err := readEtcdKeys(f, b); err == nil && kv.revision > 0 {
		c.Format = "etcd db"
		c.Text = fmt.Sprintf("revision %d, %s, %s", kv.revision, counted(kv.keys, "key"), c.Text)
	}
	return c, err
}

// etcdKeys is what the buckets of etcd's storage say.
type etcdKeys struct {
	revision int64 // the highest that is stored, or was compacted
	keys     int64 // that are not deleted
}

// readEtcdKeys goes through all revisions: key "key" has an entry of each change,
// by revision, those that compaction left, and "meta" up to where that went. See
// etcd: server/storage/mvcc/revision.go, server/storage/schema/bucket.go.
func readEtcdKeys(f File, b *Budget) (kv etcdKeys, err error) {
	d, err := openBolt(f, b)
	if err != nil {
		return kv, err
	}
	live := keySet{}
	err = d.each(func(name string, value []byte) error {
		switch name {
		case "key":
			return d.bucket(value, func(i boltItem) error { return kv.revisionOf(i, live) })
		case "meta":
			return d.bucket(value, func(i boltItem) error {
				if string(i.key) == "finishedCompactRev" && len(i.value) >= 8 {
					kv.revision = max(kv.revision, signed(binary.BigEndian.Uint64(i.value)))
				}
				return nil
			})
		}
		return nil
	})
	kv.keys = int64(len(live))
	return kv, err
}

// readEtcdRevision finds the highest revision without looking at others: the last
// key of a tree, and up to where compaction went.
func readEtcdRevision(f File, b *Budget) (revision int64, err error) {
	d, err := openBolt(f, b)
	if err != nil {
		return 0, err
	}
	err = d.each(func(name string, value []byte) error {
		d.last = name == "key"
		defer func() { d.last = false }()
		if name != "key" && name != "meta" {
			return nil
		}
		return d.bucket(value, func(i boltItem) error {
			at := i.key
			if name == "meta" {
				if string(i.key) != "finishedCompactRev" {
					return nil
				}
				at = i.value
			}
			if len(at) >= 8 {
				revision = max(revision, signed(binary.BigEndian.Uint64(at)))
			}
			return nil
		})
	})
	return revision, err
}

func (kv *etcdKeys) revisionOf(i boltItem, live keySet) error {
	if len(i.key) < 17 {
		return errBolt
	}
	kv.revision = max(kv.revision, signed(binary.BigEndian.Uint64(i.key)))
	var key []byte
	if !proto(i.value, func(field int, _ uint64, b []byte) bool {
		if field == 1 {
			key = b
		}
		return field != 1
	}) {
		return errBolt
	}
	if h := hash(0, key); len(i.key) == 18 && i.key[17] == 't' {
		delete(live, h)
	} else {
		return live.add(h)
	}
	return nil
}

// printable is name as a text may show it.
func printable(name string) string {
	if len(name) > 40 {
		name = name[:40] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return '?'
		}
		return r
	}, name)
}

func byPath(a, b File) int { return cmp.Compare(a.Path, b.Path) }
