package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A load writes to a topic of so many partitions and replicas; a write is
// acknowledged when so many replicas have it.
const (
	kafkaPartitions = 3
	kafkaReplicas   = 3
	kafkaInSync     = 2
)

func kafkaDial(o *options, endpoint string, opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(endpoint), kgo.ConnIdleTimeout(15 * time.Minute), kgo.RequestRetries(3), kgo.MetadataMinAge(100 * time.Millisecond),
	}, opts...)...)
}

// kafkaStatus reports the epoch of the controllers' quorum as the term, and the
// leaders and epochs of all partitions in the election.
func kafkaStatus(ctx context.Context, o *options) *status {
	s := &status{System: "kafka", Members: make([]member, len(o.endpoints))}
	parts := make([]string, len(o.endpoints))
	sizes := make([]int, len(o.endpoints))
	each(o, func(i int, endpoint string) {
		m := &s.Members[i]
		m.Endpoint = endpoint
		var err error
		if sizes[i], parts[i], err = kafkaMember(ctx, o, m); err != nil {
			m.Err = err.Error()
		}
	})
	for _, n := range sizes {
		s.Size = max(s.Size, n)
	}
	s.agree("raft")
	for _, p := range parts {
		if p != "" {
			s.Election += p
			break
		}
	}
	s.count(ctx, openKafka, o)
	return s
}

// kafkaMember asks one broker who it is, who leads the controllers, and who
// leads each partition.
func kafkaMember(ctx context.Context, o *options, m *member) (size int, partitions string, err error) {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	cl, err := kafkaDial(o, m.Endpoint)
	if err != nil {
		return 0, "", err
	}
	defer cl.Close()
	meta, err := kafkaMetadata(ctx, cl)
	if err != nil {
		return 0, "", err
	}
	names := map[int32]string{}
	for _, b := range meta.Brokers {
		names[b.NodeID] = fmt.Sprintf("%s:%d", b.Host, b.Port)
		if names[b.NodeID] == m.Endpoint {
			m.ID = strconv.Itoa(int(b.NodeID))
		}
	}
	if m.ID == "" {
		return 0, "", errors.New("the broker is not among those that are registered")
	}
	req := kmsg.NewPtrDescribeQuorumRequest()
	topic, part := kmsg.NewDescribeQuorumRequestTopic(), kmsg.NewDescribeQuorumRequestTopicPartition()
	topic.Topic, topic.Partitions = "__cluster_metadata", append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	resp, err := cl.SeedBrokers()[0].Request(ctx, req)
	if err != nil {
		return 0, "", err
	}
	quorum := resp.(*kmsg.DescribeQuorumResponse)
	if err := kerr.ErrorForCode(quorum.ErrorCode); err != nil {
		return 0, "", err
	}
	if len(quorum.Topics) != 1 || len(quorum.Topics[0].Partitions) != 1 {
		return 0, "", errors.New("no quorum")
	}
	q := quorum.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(q.ErrorCode); err != nil {
		return 0, "", err
	}
	m.Leader, m.Term, m.Role = strconv.Itoa(int(q.LeaderID)), uint64(q.LeaderEpoch), roleFollower
	if m.Leader == m.ID {
		m.Role = roleLeader
	}
	for _, r := range q.CurrentVoters {
		if strconv.Itoa(int(r.ReplicaID)) == m.ID {
			m.Index = uint64(max(0, r.LogEndOffset))
		}
	}
	for _, t := range meta.Topics {
		for _, p := range t.Partitions {
			partitions += fmt.Sprintf(" %s-%d=%d@%d", *t.Topic, p.Partition, p.Leader, p.LeaderEpoch)
		}
	}
	return len(q.CurrentVoters), partitions, nil
}

func kafkaMetadata(ctx context.Context, cl *kgo.Client) (*kmsg.MetadataResponse, error) {
	req := kmsg.NewPtrMetadataRequest() // of all topics
	resp, err := cl.SeedBrokers()[0].Request(ctx, req)
	if err != nil {
		return nil, err
	}
	meta := resp.(*kmsg.MetadataResponse)
	for _, t := range meta.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return nil, fmt.Errorf("topic %s: %w", *t.Topic, err)
		}
	}
	return meta, nil
}

// kafkaHealth asks each broker whether all are there, and every partition has all
// of its replicas.
func kafkaHealth(ctx context.Context, o *options) error {
	return eachErr(ctx, o, func(ctx context.Context, _ int, endpoint string) error {
		cl, err := kafkaDial(o, endpoint)
		if err != nil {
			return err
		}
		defer cl.Close()
		meta, err := kafkaMetadata(ctx, cl)
		if err != nil {
			return err
		}
		if len(meta.Brokers) < len(o.endpoints) {
			return fmt.Errorf("knows %d brokers of %d", len(meta.Brokers), len(o.endpoints))
		}
		for _, t := range meta.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return fmt.Errorf("partition %s-%d: %w", *t.Topic, p.Partition, err)
				}
				if len(p.ISR) < len(p.Replicas) {
					return fmt.Errorf("partition %s-%d: %d of %d replicas are in sync", *t.Topic, p.Partition, len(p.ISR), len(p.Replicas))
				}
			}
		}
		return nil
	})
}

// A kafkaStore writes the entries of a worker to one partition, and reads along.
type kafkaStore struct {
	o *options
	endpoint,
	topic string
	client *kgo.Client
	reader *kgo.Client // opened by the first Read
	losses atomic.Int64
	closed atomic.Bool
	// next is where the reader begins in each partition, and met the last number of each worker that it saw.
	next map[int32]kgo.Offset
	met  map[int]uint64
}

func openKafka(_ context.Context, o *options, endpoint string) (store, error) {
	s := &kafkaStore{o: o, endpoint: endpoint, topic: o.prefix, met: map[int]uint64{}}
	var err error
	s.client, err = kafkaDial(o, endpoint, kgo.WithHooks(s), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic(s.topic))
	if err != nil {
		return nil, err
	}
	return s, nil
}

// OnBrokerDisconnect is a hook of the client.
func (s *kafkaStore) OnBrokerDisconnect(kgo.BrokerMetadata, net.Conn) {
	if !s.closed.Load() {
		s.losses.Add(1)
	}
}

func (s *kafkaStore) Init(ctx context.Context) error {
	adm := kadm.NewClient(s.client)
	insync := strconv.Itoa(kafkaInSync)
	_, err := adm.CreateTopic(ctx, kafkaPartitions, kafkaReplicas, map[string]*string{"min.insync.replicas": &insync}, s.topic)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return err
	}
	for { // until every partition has a leader that all know
		ends, err := adm.ListEndOffsets(ctx, s.topic)
		if err == nil {
			err = ends.Error()
		}
		if err == nil && len(ends[s.topic]) == kafkaPartitions {
			s.next = map[int32]kgo.Offset{}
			for p, end := range ends[s.topic] {
				s.next[p] = kgo.NewOffset().At(end.Offset)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (s *kafkaStore) Write(ctx context.Context, e entry) error {
	return s.client.ProduceSync(ctx, &kgo.Record{
		Partition: int32(e.worker % kafkaPartitions), Value: fmt.Appendf(nil, "%d %d", e.worker, e.seq),
	}).FirstErr()
}

// Read reads on until it has seen e.
func (s *kafkaStore) Read(ctx context.Context, e entry) error {
	if s.reader == nil {
		part := int32(e.worker % kafkaPartitions)
		var err error
		s.reader, err = kafkaDial(s.o, s.endpoint, kgo.WithHooks(s), kgo.FetchMaxWait(100*time.Millisecond),
			kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{s.topic: {part: s.next[part]}}))
		if err != nil {
			return err
		}
	}
	for s.met[e.worker] < e.seq {
		if err := s.poll(ctx, s.reader, func(e entry) { s.met[e.worker] = e.seq }); err != nil {
			return err
		}
	}
	return nil
}

// poll hands over the entries that are there.
func (s *kafkaStore) poll(ctx context.Context, cl *kgo.Client, to func(entry)) error {
	fetches := cl.PollFetches(ctx)
	if err := fetches.Err(); err != nil {
		return err
	}
	var err error
	fetches.EachRecord(func(r *kgo.Record) {
		var e entry
		if _, serr := fmt.Sscanf(string(r.Value), "%d %d", &e.worker, &e.seq); serr != nil {
			err = fmt.Errorf("record %d of partition %d: %q", r.Offset, r.Partition, r.Value)
			return
		}
		to(e)
	})
	return err
}

func (s *kafkaStore) All(ctx context.Context) (map[entry]bool, error) {
	entries := map[entry]bool{}
	err := s.read(ctx, func(e entry) { entries[e] = true })
	return entries, err
}

// Order tells the records in the order of each partition, which is that of its
// workers.
func (s *kafkaStore) Order(ctx context.Context) (map[int][]uint64, error) {
	order := map[int][]uint64{}
	err := s.read(ctx, func(e entry) { order[e.worker] = append(order[e.worker], e.seq) })
	return order, err
}

// read reads all partitions from their beginnings to where they end now.
func (s *kafkaStore) read(ctx context.Context, to func(entry)) error {
	ends, err := kadm.NewClient(s.client).ListEndOffsets(ctx, s.topic)
	if err == nil {
		err = ends.Error()
	}
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return nil // no load yet
	}
	if err != nil {
		return err
	}
	left := int64(0)
	from := map[int32]kgo.Offset{}
	for p, end := range ends[s.topic] {
		left += end.Offset
		from[p] = kgo.NewOffset().At(0)
	}
	if left == 0 {
		return nil
	}
	cl, err := kafkaDial(s.o, s.endpoint, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{s.topic: from}), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close()
	for left > 0 {
		if err := s.poll(ctx, cl, func(e entry) { left--; to(e) }); err != nil {
			return fmt.Errorf("%d records left: %w", left, err)
		}
	}
	return nil
}

func (s *kafkaStore) Losses() int { return int(s.losses.Load()) }

func (s *kafkaStore) Close() {
	s.closed.Store(true)
	s.client.Close()
	if s.reader != nil {
		s.reader.Close()
	}
}
