package records

import (
	"fmt"
	"strings"
)

// rdbLayouts are the layouts of values by their type in a snapshot. l is a
// length, s a string, d a double in text, 8 so many bytes, G the groups of a
// stream; what is in parentheses comes as often as the length before it says. See Redis: src/rdb.h
// (RDB_TYPE_*), src/rdb.c (rdbLoadObject).
var rdbLayouts = map[byte]string{
	0:  "s",         // string
	1:  "l(s)",      // list
	2:  "l(s)",      // set
	3:  "l(sd)",     // sorted set, scores as text
	4:  "l(ss)",     // hash
	5:  "l(s8)",     // sorted set
	9:  "s",         // hash, zipmap
	10: "s",         // list, ziplist
	11: "s",         // set of numbers
	12: "s",         // sorted set, ziplist
	13: "s",         // hash, ziplist
	14: "l(s)",      // list of ziplists
	15: "l(ss)lllG", // stream
	16: "s",         // hash, listpack
	17: "s",         // sorted set, listpack
	18: "l(ls)",     // list of listpacks
	19: "l(ss)llllllllG",
	20: "s", // set, listpack
	21: "l(ss)llllllllG",
	24: "8l(lss)", // hash whose fields expire
	25: "8s",      // that as listpack
}

const rdbModule2 = 7

// rdbValue passes over a value.
func (r *reader) rdbValue(kind byte) error {
	if kind == rdbModule2 {
		if err := r.rdbSkip("l"); err != nil { // which module
			return err
		}
		return r.rdbModule()
	}
	layout, known := rdbLayouts[kind]
	if !known {
		return errRDBType
	}
	layout, groups := strings.CutSuffix(layout, "G")
	if err := r.rdbSkip(layout); err != nil || !groups {
		return err
	}
	return r.rdbGroups(kind)
}

// rdbSkip passes over what a layout says.
func (r *reader) rdbSkip(layout string) error {
	count := uint64(0)
	for i := 0; i < len(layout); i++ {
		var err error
		switch layout[i] {
		case 'l':
			count, _, err = r.rdbLength()
		case 's':
			err = r.skipRDBString()
		case 'd':
			err = r.rdbTextDouble()
		case '8':
			err = r.skip(8)
		case '(':
			end := i + 1
			for layout[end] != ')' {
				end++
			}
			for range count {
				if err := r.rdbSkip(layout[i+1 : end]); err != nil {
					return err
				}
			}
			i = end
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// rdbTextDouble passes over a double in text after its length: 253 to 255 are
// not a number and the infinities.
func (r *reader) rdbTextDouble() error {
	n, err := r.u8()
	if err != nil || n >= 253 {
		return err
	}
	return r.skip(int64(n))
}

// rdbGroups passes over the consumer groups of a stream: name, last id, perhaps
// entries read, entries that are pending, and consumers with theirs.
func (r *reader) rdbGroups(kind byte) error {
	groups, _, err := r.rdbLength()
	if err != nil {
		return err
	}
	for range groups {
		head := "sll"
		if kind >= 19 {
			head = "slll"
		}
		if err := r.rdbSkip(head); err != nil {
			return err
		}
		if err := r.rdbPending(16 + 8); err != nil { // id, time, and a count
			return err
		}
		consumers, _, err := r.rdbLength()
		if err != nil {
			return err
		}
		for range consumers {
			times := "s8"
			if kind >= 21 {
				times = "s88"
			}
			if err := r.rdbSkip(times); err != nil {
				return err
			}
			pending, _, err := r.rdbLength()
			if err != nil {
				return err
			}
			if pending > 1<<40 {
				return fmt.Errorf("broken at byte %d", r.pos)
			}
			if err := r.skip(int64(pending) * 16); err != nil {
				return err
			}
		}
	}
	return nil
}

// rdbPending passes over entries of a fixed part and a length.
func (r *reader) rdbPending(fixed int64) error {
	n, _, err := r.rdbLength()
	if err != nil {
		return err
	}
	for range n {
		if err := r.skip(fixed); err != nil {
			return err
		}
		if _, _, err := r.rdbLength(); err != nil {
			return err
		}
	}
	return nil
}

// rdbModule passes over what a module saved: opcodes with one value each, until 0.
func (r *reader) rdbModule() error {
	for {
		op, _, err := r.rdbLength()
		if err != nil {
			return err
		}
		switch op {
		case 0:
			return nil
		case 1, 2: // numbers
			_, _, err = r.rdbLength()
		case 3: // float
			err = r.skip(4)
		case 4: // double
			err = r.skip(8)
		case 5:
			err = r.skipRDBString()
		default:
			return fmt.Errorf("broken at byte %d", r.pos)
		}
		if err != nil {
			return err
		}
	}
}
