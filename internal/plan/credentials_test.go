package plan

import (
	"slices"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
)

func user(tid, uid int) Credentials {
	ids := []int{uid, uid, uid, uid}
	return Credentials{TID: tid, UIDs: ids, GIDs: ids}
}

func root(tid int) Credentials {
	c := user(tid, 0)
	c.CapEff = ^uint64(0)
	return c
}

func TestWorldOwner(t *testing.T) {
	weak := func(c Credentials, without int) Credentials { c.CapEff &^= 1 << without; return c }
	mixed := user(1, 33) // started by 33, effectively 44
	mixed.UIDs = []int{33, 44, 44, 44}
	for _, c := range []struct {
		name    string
		members []Credentials
		owner   int
		refused []string
	}{
		{"nobody", nil, 0, nil},
		{"root", []Credentials{root(1), root(2)}, 0, nil},
		{"one user", []Credentials{user(1, 33), user(2, 33)}, 33, nil},
		{"root and a user", []Credentials{root(1), user(2, 33)}, 33, nil},
		{"a user and root", []Credentials{user(2, 33), root(1)}, 33, nil},
		{"root without capabilities", []Credentials{user(1, 0)}, 0, nil},
		{"root without capabilities and a user", []Credentials{user(1, 0), user(2, 33)}, 0, []string{"uid 33"}},
		{"root that may not trace and a user", []Credentials{user(2, 33), weak(root(1), capSysPtrace)}, 33, []string{"uid 0"}},
		{"root that is no administrator and a user", []Credentials{user(2, 33), weak(root(1), capSysAdmin)}, 33, []string{"uid 0"}},
		{"the effective user counts", []Credentials{mixed, user(2, 44)}, 44, nil},
		{"two users", []Credentials{user(1, 33), user(2, 34), root(3), user(4, 33), user(5, 35)}, 33, []string{"uid 34", "uid 35"}},
	} {
		var all []ProcessFacts
		for i, m := range c.members {
			all = append(all, ProcessFacts{Member: model.Member{Name: "m", PID: 100 + i}, Credentials: []Credentials{m}})
		}
		owner, refusals := WorldOwner(all)
		var kinds []string
		for _, r := range refusals {
			kinds = append(kinds, r.Kind)
			if r.PID == 0 || !strings.Contains(r.Why, "one owner") {
				t.Errorf("%s: incomplete refusal %+v", c.name, r)
			}
		}
		if owner != c.owner || !slices.Equal(kinds, c.refused) {
			t.Errorf("%s: owner %d, refused %q; want %d, %q", c.name, owner, kinds, c.owner, c.refused)
		}
	}
}
