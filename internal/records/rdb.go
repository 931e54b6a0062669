package records

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A snapshot of Redis, or of Valkey: opcodes, and keys with their values. Values
// are passed over. See Redis: src/rdb.h, src/rdb.c (rdbLoadRioWithLoadingCtx,
// rdbLoadObject).

const (
	rdbSlotInfo     = 244
	rdbFunction     = 245
	rdbFunctionOld  = 246
	rdbModuleAux    = 247
	rdbIdle         = 248
	rdbFreq         = 249
	rdbAux          = 250
	rdbResize       = 251
	rdbExpireMillis = 252
	rdbExpireSecs   = 253
	rdbSelect       = 254
	rdbEOF          = 255
)

func isRDB(f File) bool {
	return begins(f, 0, "REDIS00") || begins(f, 0, "VALKEY0")
}

// A keyspace is how many keys the databases of a server have, and how many of
// those expire.
type keyspace struct {
	keys, expires map[uint64]int64 // by database
	// seen has all keys, when somebody goes on to change them; else it is nil.
	seen map[uint64]keySet
}

func newKeyspace() *keyspace {
	return &keyspace{keys: map[uint64]int64{}, expires: map[uint64]int64{}}
}

// total is all keys.
func (k *keyspace) total() (n int64) {
	for _, c := range k.keys {
		n += c
	}
	return n
}

func (k *keyspace) text() string {
	var dbs []uint64
	for db := range k.keys {
		dbs = append(dbs, db)
	}
	if len(dbs) == 0 {
		return "no keys"
	}
	slices.Sort(dbs)
	var parts []string
	for _, db := range dbs[:min(len(dbs), 16)] {
		text := fmt.Sprintf("db%d %s", db, counted(k.keys[db], "key"))
		if n := k.expires[db]; n > 0 {
			text += fmt.Sprintf(" (%d expire)", n)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// add counts a key that a snapshot has.
func (k *keyspace) add(db uint64, key []byte, expires bool) error {
	k.keys[db]++
	if expires {
		k.expires[db]++
	}
	if k.seen == nil {
		return nil
	}
	return k.set(db).add(hash(0, key))
}

// set is the keys of a database.
func (k *keyspace) set(db uint64) keySet {
	if k.seen[db] == nil {
		k.seen[db] = keySet{}
	}
	return k.seen[db]
}

func lookRDB(f File, b *Budget) (Content, error) {
	k := newKeyspace()
	err := k.readRDB(read(f, b))
	return Content{Format: "redis rdb", Text: k.text(), Records: k.total()}, err
}

var errRDBType = errors.New("has values of a type not known here")

// readRDB reads up to the end of the snapshot, behind which commands may follow.
func (k *keyspace) readRDB(r *reader) error {
	if _, err := r.take(9); err != nil {
		return err
	}
	db, expires := uint64(0), false
	for {
		op, err := r.u8()
		if err != nil {
			return err
		}
		switch op {
		case rdbEOF:
			// A checksum, from version 5 on.
			if r.left() >= 8 {
				return r.skip(8)
			}
			return nil
		case rdbSelect:
			if db, _, err = r.rdbLength(); err == nil && k.keys[db] == 0 {
				k.keys[db] = 0
			}
		case rdbResize:
			err = r.rdbSkip("ll")
		case rdbSlotInfo:
			err = r.rdbSkip("lll")
		case rdbAux:
			err = r.rdbSkip("ss")
		case rdbFunction:
			err = r.rdbSkip("s")
		case rdbExpireMillis:
			expires, err = true, r.skip(8)
		case rdbExpireSecs:
			expires, err = true, r.skip(4)
		case rdbFreq:
			err = r.skip(1)
		case rdbIdle:
			err = r.rdbSkip("l")
		case rdbModuleAux:
			if err = r.rdbSkip("lll"); err == nil { // module, opcode, when
				err = r.rdbModule()
			}
		case rdbFunctionOld:
			err = errRDBType
		default:
			key, kerr := r.rdbString()
			if kerr != nil {
				return kerr
			}
			if err := k.add(db, key, expires); err != nil {
				return err
			}
			expires = false
			err = r.rdbValue(op)
		}
		if err != nil {
			return err
		}
	}
}

// rdbLength reads a length, or how a string is encoded.
func (r *reader) rdbLength() (n uint64, encoded bool, err error) {
	first, err := r.u8()
	if err != nil {
		return 0, false, err
	}
	switch first >> 6 {
	case 0:
		return uint64(first & 63), false, nil
	case 1:
		next, err := r.u8()
		return uint64(first&63)<<8 | uint64(next), false, err
	case 3:
		return uint64(first & 63), true, nil
	}
	switch first {
	case 0x80:
		n, err := r.be32()
		return uint64(n), false, err
	case 0x81:
		n, err := r.be64()
		return n, false, err
	}
	return 0, false, fmt.Errorf("broken at byte %d", r.pos)
}

// rdbString reads a string.
func (r *reader) rdbString() ([]byte, error) {
	n, encoded, err := r.rdbLength()
	if err != nil {
		return nil, err
	}
	if !encoded {
		return r.take(int(min(n, maxTake+1)))
	}
	switch n {
	case 0, 1, 2: // a number of 1, 2 or 4 bytes
		b, err := r.take(1 << n)
		if err != nil {
			return nil, err
		}
		var wide [4]byte
		sign := byte(0)
		if b[len(b)-1]&0x80 != 0 {
			sign = 0xff
		}
		for i := range wide {
			wide[i] = sign
		}
		copy(wide[:], b)
		return fmt.Appendf(nil, "%d", int32(binary.LittleEndian.Uint32(wide[:]))), nil
	case 3:
		packed, _, err := r.rdbLength()
		if err != nil {
			return nil, err
		}
		plain, _, err := r.rdbLength()
		if err != nil {
			return nil, err
		}
		b, err := r.take(int(min(packed, maxTake+1)))
		if err != nil {
			return nil, err
		}
		return unpackLZF(b, plain)
	}
	return nil, fmt.Errorf("broken at byte %d", r.pos)
}

// skipRDBString passes over a string.
func (r *reader) skipRDBString() error {
	n, encoded, err := r.rdbLength()
	switch {
	case err != nil:
		return err
	case !encoded:
		return r.skip(int64(min(n, 1<<62)))
	case n <= 2:
		return r.skip(1 << n)
	case n == 3:
		if n, _, err = r.rdbLength(); err != nil {
			return err
		}
		if _, _, err = r.rdbLength(); err != nil {
			return err
		}
		return r.skip(int64(min(n, 1<<62)))
	}
	return fmt.Errorf("broken at byte %d", r.pos)
}

// unpackLZF undoes LZF, see liblzf: lzf_d.c.
func unpackLZF(in []byte, size uint64) ([]byte, error) {
	if size > maxTake {
		return nil, errBudget
	}
	var out []byte
	for len(in) > 0 {
		n := int(in[0])
		in = in[1:]
		if n < 32 { // so many bytes and one more as they are
			if n+1 > len(in) {
				return nil, errCut
			}
			out, in = append(out, in[:n+1]...), in[n+1:]
			continue
		}
		length, back := n>>5, n&31<<8
		if length == 7 {
			if len(in) == 0 {
				return nil, errCut
			}
			length, in = length+int(in[0]), in[1:]
		}
		if len(in) == 0 {
			return nil, errCut
		}
		from := len(out) - back - int(in[0]) - 1
		in = in[1:]
		if from < 0 || uint64(len(out)+length+2) > size {
			return nil, errCut
		}
		for i := range length + 2 { // what is copied may be what was just written
			out = append(out, out[from+i])
		}
	}
	if uint64(len(out)) != size {
		return nil, errCut
	}
	return out, nil
}
