package records

import (
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
)

// A message block of a JetStream file store: records of a header, a subject,
// perhaps headers, a message and a checksum. A record marks a message as erased,
// or a deletion, by bits of its sequence number. See nats-server:
// server/filestore.go (writeMsgRecordLocked, rebuildStateFromBufLocked).

const (
	natsHeader   = 22 // length 4, sequence 8, time 8, length of the subject 2
	natsLeast    = natsHeader + 8
	natsMost     = 32 << 20 // rlBadThresh
	natsHdrBit   = 1 << 31
	natsErased   = 1 << 63
	natsDeletion = 1 << 62
)

var natsBlockName = regexp.MustCompile(`^\d+\.blk$`)

func isNATSBlock(f File) bool {
	return natsBlockName.MatchString(f.base()) && strings.Contains("/"+f.Path, "/msgs/")
}

// A stream is what its blocks hold.
type stream struct {
	messages    int64
	first, last uint64
	deleted     keySet
	// opaque counts blocks that are compressed or encrypted.
	opaque int
}

func (s stream) text() string {
	switch {
	case s.opaque > 0:
		return "compressed or encrypted"
	case s.messages == 0:
		return fmt.Sprintf("no messages, last sequence %d", s.last)
	}
	return fmt.Sprintf("%s, %s", span("messages", s.first, s.last), counted(s.messages, "message"))
}

func lookNATSBlock(f File, b *Budget) (Content, error) {
	s := stream{deleted: keySet{}}
	err := s.read(f, b)
	s.advance()
	return Content{Format: "jetstream block", Text: s.text(), Records: s.messages, Partial: s.opaque > 0}, err
}

// read adds a block. Blocks are read in the order of their numbers, since a
// deletion may be in a later one than its message.
func (s *stream) read(f File, b *Budget) error {
	if begins(f, 0, "cmp\x01") { // CompressionInfo, S2
		s.opaque++
		return nil
	}
	r := read(f, b)
	for r.left() > 0 {
		start := r.pos
		head, err := r.take(natsHeader)
		if err != nil {
			return err
		}
		length, seq := binary.LittleEndian.Uint32(head), binary.LittleEndian.Uint64(head[4:])
		subject := int64(binary.LittleEndian.Uint16(head[20:]))
		size := int64(length &^ natsHdrBit)
		if length&natsHdrBit != 0 {
			subject += 4
		}
		if size < natsLeast || size > natsMost || subject > size-natsLeast {
			if start == 0 { // encrypted blocks look like that
				s.opaque++
				return nil
			}
			return fmt.Errorf("broken at byte %d", start)
		}
		if err := r.skip(size - natsHeader); err != nil {
			return err
		}
		if err := s.message(seq); err != nil {
			return err
		}
	}
	return nil
}

func (s *stream) message(seq uint64) error {
	if seq&natsDeletion != 0 {
		seq &^= natsDeletion
		s.last = max(s.last, seq)
		if err := s.deleted.add(seq); err != nil {
			return err
		}
		if s.messages > 0 && seq >= s.first {
			s.messages--
		}
		return nil
	}
	erased := seq&natsErased != 0
	seq &^= natsErased
	if seq == 0 {
		return nil
	}
	s.last = max(s.last, seq)
	if _, gone := s.deleted[seq]; erased || gone {
		return nil
	}
	if s.messages == 0 {
		s.first = seq
	}
	s.messages++
	return nil
}

// advance moves the first message over those that were deleted later.
func (s *stream) advance() {
	for s.first < s.last {
		if _, gone := s.deleted[s.first]; !gone {
			return
		}
		s.first++
	}
}

// readNATS is the store of a stream.
func readNATS(files []File, b *Budget) ([]Figure, error) {
	files = slices.DeleteFunc(slices.Clone(files), func(f File) bool { return !isNATSBlock(f) })
	slices.SortFunc(files, func(a, b File) int { return int(min(1, max(-1, blockNumber(a)-blockNumber(b)))) })
	s := stream{deleted: keySet{}}
	for _, f := range files {
		if err := s.read(f, b); isBudget(err) {
			return nil, err
		}
	}
	if s.opaque > 0 {
		return nil, nil
	}
	return []Figure{{"last sequence", model.FigurePosition, signed(s.last)}, {"messages", model.FigureEstimate, s.messages}}, nil
}

func blockNumber(f File) int64 {
	n, _ := strconv.ParseInt(strings.TrimSuffix(f.base(), ".blk"), 10, 64) // digits, by isNATSBlock
	return n
}
