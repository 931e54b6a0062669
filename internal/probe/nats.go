package probe

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// NATS greets clients with INFO, and has pages of JSON on its monitoring port.
// See https://docs.nats.io/running-a-nats-service/nats_admin/monitoring.

func askNATS(ctx context.Context, addrs []string, verb string) (Answer, error) {
	if verb == "roles" {
		return roles(ctx, addrs, natsRoles)
	}
	if verb == "health" {
		return each(ctx, addrs, natsHealth)
	}
	return most(ctx, addrs, larger, natsNumbers)
}

// natsHealth takes a client's port, or a monitoring one.
func natsHealth(ctx context.Context, addr string) (string, error) {
	text, err := fetch(ctx, "http://"+addr+"/healthz", "")
	var unwell *statusError
	switch {
	case err == nil:
		return strings.TrimSpace(string(text)), nil
	case errors.As(err, &unwell):
		return "", err
	}
	conn, err := dial(ctx, addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	line, err := lineOf(bufio.NewReader(conn))
	if err != nil {
		return "", fmt.Errorf("greeting: %w", err)
	}
	if !strings.HasPrefix(line, "INFO ") {
		return "", fmt.Errorf("greets with %.100q", line)
	}
	return "greets", nil
}

// natsNumbers are those of streams, from the monitoring port.
func natsNumbers(ctx context.Context, addr string) (map[string]int64, error) {
	text, err := fetch(ctx, "http://"+addr+"/jsz?accounts=true&streams=true", "")
	if err != nil {
		return nil, err
	}
	var answer struct {
		Accounts []struct {
			Name    string `json:"name"`
			Streams []struct {
				Name  string `json:"name"`
				State struct {
					Messages int64 `json:"messages"`
					Last     int64 `json:"last_seq"`
				} `json:"state"`
			} `json:"stream_detail"`
		} `json:"account_details"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, err
	}
	out := map[string]int64{"streams": 0}
	for _, a := range answer.Accounts {
		for _, s := range a.Streams {
			out["streams"]++
			name := strings.Join(strings.Fields(a.Name+"/"+s.Name), "_")
			out["last sequence of "+name] = s.State.Last
			out["~messages of "+name] = s.State.Messages
		}
	}
	return out, nil
}
