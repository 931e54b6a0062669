package records

import "strings"

// What commands of an append-only file do to the set of keys. Redis writes there
// what changes data in a form without chance: a key that expires is deleted by
// DEL or UNLINK. Commands that take the last element out of a list or so delete
// its key without a word: after those the number is no longer exact.

// aofCreating are commands whose first argument is a key that exists afterwards.
var aofCreating = words(`set setex psetex setnx append incr incrby incrbyfloat decr decrby getset setrange setbit bitfield
	rpush lpush linsert lset sadd zadd zincrby geoadd hset hmset hsetnx hincrby hincrbyfloat xadd xgroup xsetid pfadd restore`)

// aofHarmless neither make nor remove keys. Expiry is written as DEL.
var aofHarmless = words(`multi exec pexpireat expireat expire pexpire persist publish spublish ping script eval evalsha
	function xack xclaim xautoclaim xdel xtrim replconf`)

func words(text string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(text) {
		set[w] = true
	}
	return set
}

// apply follows one command.
func (a *aof) apply(args [][]byte) error {
	if len(args) == 0 {
		return nil
	}
	verb, args := args[0], args[1:]
	for i, c := range verb {
		if 'A' <= c && c <= 'Z' {
			verb[i] = c + 'a' - 'A'
		}
	}
	if aofCreating[string(verb)] && len(args) > 0 { // nearly always: no copy of the name is made
		return a.set(a.db).add(hash(0, args[0]))
	}
	name := string(verb)
	switch {
	case name == "select" && len(args) == 1:
		db, ok := number(args[0])
		a.db, a.vague = db, a.vague || !ok
	case name == "mset" || name == "msetnx":
		for i := 0; i+1 < len(args); i += 2 {
			if err := a.set(a.db).add(hash(0, args[i])); err != nil {
				return err
			}
		}
	case name == "del" || name == "unlink" || name == "getdel":
		for _, key := range args {
			a.remove(key)
		}
	case name == "flushdb":
		a.deleted += int64(len(a.seen[a.db]))
		delete(a.seen, a.db)
	case name == "flushall":
		a.deleted += a.known()
		clear(a.seen)
	case name == "rename" && len(args) == 2:
		a.remove(args[0])
		return a.set(a.db).add(hash(0, args[1]))
	case aofHarmless[name]:
	default:
		a.vague = true
	}
	return nil
}

// remove deletes a key, as far as it is known.
func (a *aof) remove(key []byte) {
	set, h := a.set(a.db), hash(0, key)
	if _, ok := set[h]; ok {
		a.deleted++
		delete(set, h)
	}
}

// known counts the keys that are remembered.
func (a *aof) known() (n int64) {
	for _, set := range a.seen {
		n += int64(len(set))
	}
	return n
}

func number(b []byte) (n uint64, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' || n > 1<<32 {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, len(b) > 0
}
