package records

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
)

// Snapshots and transaction logs of ZooKeeper, both in its serialization Jute:
// big-endian numbers, and byte strings after their length, -1 for none. See
// ZooKeeper: server/persistence/FileSnap.java, FileTxnLog.java, server/DataTree.java
// (serializeNode), server/util/SerializeUtils.java, and zookeeper.jute for
// transactions.

const (
	zkMagicSnapshot = "ZKSN"
	zkMagicLog      = "ZKLG"
	zkVersion       = 2
	zkStatSize      = 60 // StatPersisted: 6 longs and 3 ints, and a long for the owner or pzxid
)

var (
	zkSnapshotName = regexp.MustCompile(`^snapshot\.[0-9a-f]+$`)
	zkLogName      = regexp.MustCompile(`^log\.[0-9a-f]+$`)
)

func isZKSnapshot(f File) bool {
	return zkSnapshotName.MatchString(f.base()) && begins(f, 0, zkMagicSnapshot)
}

func isZKLog(f File) bool { return zkLogName.MatchString(f.base()) && begins(f, 0, zkMagicLog) }

// zkSuffix is the transaction that a file is named after.
func zkSuffix(f File) uint64 {
	_, hex, _ := strings.Cut(f.base(), ".")
	n, _ := strconv.ParseUint(hex, 16, 64) // 0 for a number that cannot be
	return n
}

// zxid is a transaction id as ZooKeeper logs them.
func zxid(n uint64) string { return fmt.Sprintf("0x%x", n) }

// A tree is the nodes of a data tree, by the hash of their paths; the value is
// the session that an ephemeral node ends with, or 0.
type tree struct {
	nodes map[uint64]uint64
	owned map[uint64][]uint64 // by session
	// deleted counts the transactions that deleted a node, ever since the first log.
	deleted int64
}

func newTree() *tree { return &tree{nodes: map[uint64]uint64{}, owned: map[uint64][]uint64{}} }

func (t *tree) add(path []byte, owner uint64) error {
	if len(t.nodes) >= maxKeys {
		return errBudget
	}
	h := hash(0, path)
	t.nodes[h] = owner
	if owner != 0 {
		t.owned[owner] = append(t.owned[owner], h)
	}
	return nil
}

func (t *tree) remove(path []byte) { delete(t.nodes, hash(0, path)) }

// lasting counts the nodes that do not end with a session.
func (t *tree) lasting() (n int64) {
	for _, owner := range t.nodes {
		if owner == 0 {
			n++
		}
	}
	return n
}

// end removes what a session owned.
func (t *tree) end(session uint64) {
	for _, h := range t.owned[session] {
		if t.nodes[h] == session {
			delete(t.nodes, h)
		}
	}
	delete(t.owned, session)
}

// A zkSnapshot is what one says.
type zkSnapshot struct {
	sessions, nodes, ephemeral int64
	last                       uint64 // the newest change of a node
}

func lookZKSnapshot(f File, b *Budget) (Content, error) {
	s, err := readZKSnapshot(f, b, nil)
	text := join(counted(s.nodes, "znode"), fmt.Sprintf("%d ephemeral", s.ephemeral), counted(s.sessions, "session"),
		"zxid "+zxid(max(s.last, zkSuffix(f))))
	return Content{Format: "zookeeper snapshot", Text: text, Records: s.nodes}, err
}

// readZKSnapshot reads a snapshot, into t if there is one.
func readZKSnapshot(f File, b *Budget, t *tree) (s zkSnapshot, err error) {
	r := read(f, b)
	if err := r.zkHeader(); err != nil {
		return s, err
	}
	sessions, err := r.be32()
	if err != nil {
		return s, err
	}
	if err := r.skip(int64(sessions) * 12); err != nil { // id, timeout
		return s, err
	}
	s.sessions = int64(sessions)
	if err := r.skipZKACLs(); err != nil {
		return s, err
	}
	for {
		path, err := r.zkBytes()
		if err != nil {
			return s, err
		}
		if string(path) == "/" { // the root's own name is empty, this is the end
			return s, nil
		}
		path = slices.Clone(path)
		owner, zxid, err := r.zkNode()
		if err != nil {
			return s, err
		}
		s.last = max(s.last, zxid)
		if len(path) == 0 {
			continue
		}
		s.nodes++
		if owner != 0 {
			s.ephemeral++
		}
		if t != nil {
			if err := t.add(path, owner); err != nil {
				return s, err
			}
		}
	}
}

// zkHeader reads the magic, the version and the id of the database.
func (r *reader) zkHeader() error {
	if _, err := r.be32(); err != nil {
		return err
	}
	version, err := r.be32()
	if err != nil {
		return err
	}
	if version != zkVersion {
		return fmt.Errorf("format %d", version)
	}
	_, err = r.be64()
	return err
}

// zkBytes reads bytes after their length.
func (r *reader) zkBytes() ([]byte, error) {
	n, err := r.be32()
	if err != nil || int32(n) == -1 {
		return nil, err
	}
	return r.take(int(int32(n)))
}

// skipZKBytes leaves them out.
func (r *reader) skipZKBytes() error {
	n, err := r.be32()
	if err != nil || int32(n) == -1 {
		return err
	}
	return r.skip(int64(int32(n)))
}

// skipZKACLs leaves out the table of access lists: number, list of permissions
// and scheme and name.
func (r *reader) skipZKACLs() error {
	lists, err := r.be32()
	if err != nil {
		return err
	}
	for range lists {
		if _, err := r.be64(); err != nil {
			return err
		}
		if err := r.skipZKACL(); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) skipZKACL() error {
	n, err := r.be32()
	if err != nil || int32(n) == -1 {
		return err
	}
	for range n {
		if _, err := r.be32(); err != nil {
			return err
		}
		if err := errors.Join(r.skipZKBytes(), r.skipZKBytes()); err != nil {
			return err
		}
	}
	return nil
}

// zkNode reads a node behind its path.
func (r *reader) zkNode() (owner, last uint64, err error) {
	if err := r.skipZKBytes(); err != nil { // data
		return 0, 0, err
	}
	if _, err := r.be64(); err != nil { // number of its access list
		return 0, 0, err
	}
	stat, err := r.take(zkStatSize)
	if err != nil {
		return 0, 0, err
	}
	// czxid, mzxid, ctime, mtime, version, cversion, aversion, owner, pzxid
	owner = be(stat[44:])
	if owner>>63 == 1 && (owner == 1<<63 || owner>>56 == 0xff) {
		owner = 0 // a container, or a node with a time to live: EphemeralType.java
	}
	return owner, max(be(stat), be(stat[8:]), be(stat[52:])), nil
}

func be(b []byte) (n uint64) {
	for _, c := range b[:8] {
		n = n<<8 | uint64(c)
	}
	return n
}

// readZK is the store of a server: the newest snapshot that is whole, with what
// the logs add to it.
func readZK(files []File, b *Budget) ([]Figure, error) {
	var snapshots, logs []File
	for _, f := range files {
		switch {
		case isZKSnapshot(f):
			snapshots = append(snapshots, f)
		case isZKLog(f):
			logs = append(logs, f)
		}
	}
	newest := func(a, b File) int { return cmp.Compare(zkSuffix(b), zkSuffix(a)) }
	slices.SortFunc(snapshots, newest)
	slices.SortFunc(logs, func(a, b File) int { return newest(b, a) })
	t, from, last := newTree(), uint64(0), uint64(0)
	for _, f := range snapshots {
		s, err := readZKSnapshot(f, b, t)
		if isBudget(err) {
			return nil, err
		}
		if err == nil {
			from, last = zkSuffix(f), max(s.last, zkSuffix(f))
			break
		}
		t = newTree()
	}
	for _, f := range logs {
		l := zkLog{tree: t, after: from}
		if err := l.read(f, b); isBudget(err) {
			return nil, err
		}
		last = max(last, l.last)
	}
	return []Figure{{"last zxid", model.FigurePosition, signed(last)}, {"lasting znodes", model.FigureCount, t.lasting()},
		{"deletions", model.FigureDeleted, t.deleted}}, nil
}
