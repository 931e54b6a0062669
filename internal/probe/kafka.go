package probe

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
)

// askKafka wants brokers to answer ApiVersions, the first request of any client,
// in its version 0. See https://kafka.apache.org/protocol.html#protocol_messages.
func askKafka(ctx context.Context, addrs []string, verb string) (Answer, error) {
	if verb == "roles" {
		return roles(ctx, addrs, kafkaRoles)
	}
	return each(ctx, addrs, kafkaHealth)
}

func kafkaHealth(ctx context.Context, addr string) (string, error) {
	conn, err := dial(ctx, addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	const apiVersions, correlation, client = 18, 7, "pilot"
	req := binary.BigEndian.AppendUint16(nil, apiVersions)
	req = binary.BigEndian.AppendUint16(req, 0)
	req = binary.BigEndian.AppendUint32(req, correlation)
	req = append(binary.BigEndian.AppendUint16(req, uint16(len(client))), client...)
	if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(req))), req...)); err != nil {
		return "", err
	}
	var head [14]byte // length, correlation, error, number of requests it knows
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return "", err
	}
	if got := binary.BigEndian.Uint32(head[4:]); got != correlation {
		return "", fmt.Errorf("answers request %d", got)
	}
	if code := binary.BigEndian.Uint16(head[8:]); code != 0 {
		return "", fmt.Errorf("error %d", code)
	}
	return "answers", nil
}
