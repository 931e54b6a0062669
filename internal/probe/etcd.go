package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// etcd answers on the ports of its clients: /health, and its API as JSON, whose
// numbers of 64 bits are strings. See etcd: api/etcdserverpb/rpc.proto.

const everyKey = `{"key":"AA==","range_end":"AA==","count_only":true}` // from \0 to the end

func askEtcd(ctx context.Context, addrs []string, verb string) (Answer, error) {
	switch verb {
	case "health":
		return each(ctx, addrs, etcdHealth)
	case "members":
		return etcdMembers(ctx, addrs)
	case "roles":
		return roles(ctx, addrs, etcdRoles)
	}
	return most(ctx, addrs, larger, etcdNumbers)
}

func etcdHealth(ctx context.Context, addr string) (string, error) {
	text, err := fetch(ctx, "http://"+addr+"/health", "")
	if err != nil {
		return "", err
	}
	var answer struct {
		Health string
		Reason string
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return "", err
	}
	if answer.Health != "true" {
		return "", fmt.Errorf("not healthy %s", answer.Reason)
	}
	return "healthy", nil
}

func etcdNumbers(ctx context.Context, addr string) (map[string]int64, error) {
	var keys struct {
		Header struct {
			Revision int64 `json:",string"`
		}
		Count int64 `json:",string"`
	}
	if err := etcdCall(ctx, addr, "kv/range", everyKey, &keys); err != nil {
		return nil, err
	}
	var members struct{ Members []any }
	if err := etcdCall(ctx, addr, "cluster/member/list", "{}", &members); err != nil {
		return nil, err
	}
	return map[string]int64{"revision": keys.Header.Revision, "keys": keys.Count, "~members": int64(len(members.Members))}, nil
}

func etcdMembers(ctx context.Context, addrs []string) (Answer, error) {
	var errs []error
	for _, addr := range addrs {
		var list struct {
			Members []struct{ Name, ID string }
		}
		if err := etcdCall(ctx, addr, "cluster/member/list", "{}", &list); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", addr, err))
			continue
		}
		var out Answer
		for _, m := range list.Members {
			out = append(out, "member "+m.Name+" "+m.ID)
		}
		return out, nil
	}
	return nil, errors.Join(errs...)
}

func etcdCall(ctx context.Context, addr, method, body string, answer any) error {
	text, err := fetch(ctx, "http://"+addr+"/v3/"+method, body)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, answer)
}
