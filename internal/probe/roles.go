package probe

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// The question "roles": who leads, and who the members are, in lines that stay
// the same as long as these do. A server that does not answer has a line that
// says so, since that is a part of the answer; when none answers, it fails.

// roles asks every address.
func roles(ctx context.Context, addrs []string, ask func(ctx context.Context, addr string) ([]string, error)) (Answer, error) {
	var out Answer
	var errs []error
	for _, addr := range addrs {
		lines, err := ask(ctx, addr)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", addr, err))
			lines = []string{addr + " does not answer"}
		}
		for _, l := range lines {
			if !slices.Contains(out, l) {
				out = append(out, l)
			}
		}
	}
	if len(errs) == len(addrs) {
		return nil, errors.Join(errs...)
	}
	slices.Sort(out)
	return out, nil
}

// etcdRoles has the leader as each server sees it. A read that wants no quorum
// tells the members, so that a cluster without one can be asked.
func etcdRoles(ctx context.Context, addr string) ([]string, error) {
	var status struct{ Leader string }
	if err := etcdCall(ctx, addr, "maintenance/status", "{}", &status); err != nil {
		return nil, err
	}
	var list struct {
		Members []struct {
			Name, ID  string
			IsLearner bool
		}
	}
	// linearizable is left out, which means false.
	if err := etcdCall(ctx, addr, "cluster/member/list", "{}", &list); err != nil {
		return nil, err
	}
	leader := "none"
	var out []string
	for _, m := range list.Members {
		if m.ID == status.Leader {
			leader = m.Name + " " + m.ID
		}
		kind := "member "
		if m.IsLearner {
			kind = "learner "
		}
		out = append(out, kind+m.Name+" "+m.ID)
	}
	return append(out, addr+" leader "+leader), nil
}

// redisRoles has the role of each server, and of whom it is a replica.
func redisRoles(ctx context.Context, addr string) ([]string, error) {
	info, err := redisInfo(ctx, addr)
	if err != nil {
		return nil, err
	}
	if info["role"] == "slave" {
		return []string{fmt.Sprintf("%s replica of %s:%s", addr, info["master_host"], info["master_port"])}, nil
	}
	return []string{fmt.Sprintf("%s %s of %s replicas", addr, info["role"], info["connected_slaves"])}, nil
}

// zkRoles has the mode of each server: leader, follower, observer, standalone.
func zkRoles(ctx context.Context, addr string) ([]string, error) {
	s, err := zkServer(ctx, addr)
	if err != nil {
		return nil, err
	}
	return []string{addr + " " + s["Mode"]}, nil
}

// natsRoles has the leader of the meta group, where there is JetStream, and to how many
// servers each has routes, from the monitoring port. A client's port tells nothing.
func natsRoles(ctx context.Context, addr string) ([]string, error) {
	text, err := fetch(ctx, "http://"+addr+"/routez", "")
	if err != nil {
		line, gerr := natsHealth(ctx, addr)
		return []string{addr + " " + line}, gerr
	}
	var routes struct {
		Routes []struct {
			Remote string `json:"remote_id"`
		} `json:"routes"`
	}
	if err := json.Unmarshal(text, &routes); err != nil {
		return nil, err
	}
	peers := map[string]bool{} // each has several routes
	for _, r := range routes.Routes {
		peers[r.Remote] = true
	}
	out := []string{fmt.Sprintf("%s routes to %d servers", addr, len(peers))}
	if text, err = fetch(ctx, "http://"+addr+"/jsz", ""); err != nil {
		return nil, err
	}
	var jetstream struct {
		Meta *struct {
			Leader string `json:"leader"`
			Size   int    `json:"cluster_size"`
		} `json:"meta_cluster"`
	}
	if err := json.Unmarshal(text, &jetstream); err != nil {
		return nil, err
	}
	if m := jetstream.Meta; m != nil {
		out = append(out, fmt.Sprintf("%s leader %s of %d", addr, m.Leader, m.Size))
	}
	return out, nil
}

// kafkaRoles has the brokers that each knows, by Metadata in its version 1. The
// controller is left out: with KRaft the answer names any broker.
func kafkaRoles(ctx context.Context, addr string) ([]string, error) {
	conn, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	const metadata, correlation, client = 3, 7, "pilot"
	req := binary.BigEndian.AppendUint16(nil, metadata)
	req = binary.BigEndian.AppendUint16(req, 1)
	req = binary.BigEndian.AppendUint32(req, correlation)
	req = append(binary.BigEndian.AppendUint16(req, uint16(len(client))), client...)
	req = binary.BigEndian.AppendUint32(req, 0) // of no topics
	if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(req))), req...)); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxAnswer {
		return nil, fmt.Errorf("an answer of %d bytes", n)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(conn, text); err != nil {
		return nil, err
	}
	return kafkaBrokers(bytes.NewReader(text), addr, correlation)
}

// kafkaBrokers reads the head of an answer to Metadata: an array of an id, a
// host, a port and a rack.
func kafkaBrokers(r io.Reader, addr string, correlation uint32) (out []string, err error) {
	var head struct{ Correlation, Brokers uint32 }
	if err := binary.Read(r, binary.BigEndian, &head); err != nil {
		return nil, err
	}
	if head.Correlation != correlation {
		return nil, fmt.Errorf("answers request %d", head.Correlation)
	}
	for range head.Brokers {
		var id, port int32
		if err := binary.Read(r, binary.BigEndian, &id); err != nil {
			return nil, err
		}
		host, err := kafkaString(r)
		if err != nil {
			return nil, err
		}
		if err := binary.Read(r, binary.BigEndian, &port); err != nil {
			return nil, err
		}
		if _, err := kafkaString(r); err != nil { // the rack
			return nil, err
		}
		out = append(out, fmt.Sprintf("%s knows broker %d at %s:%d", addr, id, host, port))
	}
	return out, nil
}

// kafkaString reads a string of at most 32 KiB; one of length -1 is null.
func kafkaString(r io.Reader) (string, error) {
	var n int16
	if err := binary.Read(r, binary.BigEndian, &n); err != nil || n < 0 {
		return "", err
	}
	text := make([]byte, n)
	_, err := io.ReadFull(r, text)
	return string(text), err
}
