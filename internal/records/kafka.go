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

// A segment of a Kafka partition's log: record batches of format 2, or messages
// of formats 0 and 1, one after the other. The name is the first offset that it
// may hold. See Kafka: clients/src/main/java/org/apache/kafka/common/record/
// DefaultRecordBatch.java (2) and AbstractLegacyRecordBatch.java (0 and 1).

const (
	kafkaPrefix  = 12 // offset and length
	kafkaHeader  = 61 // of a batch
	kafkaMagicAt = 16
)

var (
	kafkaLogName   = regexp.MustCompile(`^\d{20}\.log$`)
	kafkaPartition = regexp.MustCompile(`^[A-Za-z0-9._-]+-\d+$`)
)

func isKafkaLog(f File) bool { return kafkaLogName.MatchString(f.base()) }

// A segment is what one, or several in a row, hold.
type segment struct {
	batches, records int64
	first, next      int64 // offset of the first, and after the last
}

func lookKafkaLog(f File, b *Budget) (Content, error) {
	s, err := readKafkaLog(f, b)
	text := fmt.Sprintf("%s, %s", counted(s.records, "record"), counted(s.batches, "batch"))
	if s.batches > 0 {
		text = fmt.Sprintf("offsets %d..%d, %s", s.first, s.next-1, text)
	} else {
		text = fmt.Sprintf("empty from offset %d", s.next)
	}
	return Content{Format: "kafka log", Text: text, Records: s.records}, err
}

func readKafkaLog(f File, b *Budget) (s segment, err error) {
	base, err := strconv.ParseInt(strings.TrimSuffix(f.base(), ".log"), 10, 64)
	if err != nil {
		return s, err
	}
	s.first, s.next = base, base
	r := read(f, b)
	for r.left() > 0 {
		start := r.pos
		if r.left() < kafkaMagicAt+1 {
			return s, r.cut()
		}
		head, err := r.take(kafkaMagicAt + 1)
		if err != nil {
			return s, err
		}
		offset, length := int64(binary.BigEndian.Uint64(head)), int64(int32(binary.BigEndian.Uint32(head[8:])))
		if length == 0 && offset == 0 {
			return s, nil // reserved for what was to come
		}
		if length < 6 || offset < s.next && s.batches > 0 || offset < base {
			return s, fmt.Errorf("broken at byte %d", start)
		}
		records := int64(1)
		switch magic := head[kafkaMagicAt]; magic {
		case 0, 1: // one message, or a compressed set under its last offset
		case 2:
			if length < kafkaHeader-kafkaPrefix {
				return s, fmt.Errorf("broken at byte %d", start)
			}
			rest, err := r.take(kafkaHeader - kafkaMagicAt - 1)
			if err != nil {
				return s, err
			}
			// Behind magic: crc 4, attributes 2, last offset delta 4, two
			// timestamps 16, producer 8+2, sequence 4, count 4.
			delta, count := int32(binary.BigEndian.Uint32(rest[6:])), int32(binary.BigEndian.Uint32(rest[40:]))
			if delta < 0 || count < 0 {
				return s, fmt.Errorf("broken at byte %d", start)
			}
			records = int64(count)
			offset += int64(delta)
		default:
			return s, fmt.Errorf("broken at byte %d: format %d", start, magic)
		}
		if start+kafkaPrefix+length > f.Size {
			return s, fmt.Errorf("%w in the batch at byte %d", errCut, start)
		}
		if s.batches == 0 {
			s.first = int64(binary.BigEndian.Uint64(head))
		}
		s.batches++
		s.records += records
		s.next = offset + 1
		r.pos = start + kafkaPrefix + length
	}
	return s, nil
}

// readKafka is the store of a partition: where its log ends, and what it holds.
// The end is in the last segment that is not empty.
func readKafka(files []File, b *Budget) ([]Figure, error) {
	files = slices.DeleteFunc(slices.Clone(files), func(f File) bool { return !isKafkaLog(f) })
	slices.SortFunc(files, byPath)
	var end, records int64
	for _, f := range slices.Backward(files) {
		s, err := readKafkaLog(f, b)
		if isBudget(err) && records > 0 {
			return []Figure{{"end offset", model.FigurePosition, end}}, err
		} else if isBudget(err) {
			return nil, err
		}
		end = max(end, s.next)
		records += s.records
	}
	return []Figure{{"end offset", model.FigurePosition, end}, {"records", model.FigureEstimate, records}}, nil
}
