package plan

import (
	"slices"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
)

func TestContainers(t *testing.T) {
	member := func(name string, pid int, c Container) ProcessFacts {
		return ProcessFacts{Member: model.Member{Name: name, PID: pid}, Container: c}
	}
	one, other := Container{PID: 7, User: 8}, Container{PID: 9, User: 8}
	for _, c := range []struct {
		name string
		all  []ProcessFacts
		want []string // who is refused, and for what
	}{
		{"nobody", nil, nil},
		{"at home", []ProcessFacts{member("a", 1, Container{}), member("b", 2, Container{})}, nil},
		{"together", []ProcessFacts{member("a", 1, one), member("b", 2, one)}, nil},
		{"in two", []ProcessFacts{member("a", 1, one), member("b", 2, other)}, []string{"b pid"}},
		{"other users", []ProcessFacts{member("a", 1, one), member("b", 2, Container{PID: 7, User: 1})}, []string{"b user"}},
		{"one at home", []ProcessFacts{member("a", 1, Container{}), member("b", 2, one)}, []string{"b pid"}},
		{"one is down", []ProcessFacts{member("a", 0, Container{}), member("b", 2, one)}, nil},
	} {
		var got []string
		for _, r := range Containers(c.all) {
			got = append(got, r.Member+" "+r.Kind)
			if r.Why == "" || r.Hint == "" {
				t.Errorf("%s: incomplete refusal %+v", c.name, r)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: refused %v, want %v", c.name, got, c.want)
		}
	}
}

func TestWithin(t *testing.T) {
	of := func(pid, uid int, c Container) ProcessFacts {
		return ProcessFacts{Member: model.Member{PID: pid}, Container: c, Credentials: []Credentials{{UIDs: []int{uid, uid, uid, uid}}}}
	}
	inside := Container{PID: 7}
	for _, c := range []struct {
		name string
		all  []ProcessFacts
		want int
	}{
		{"at home", []ProcessFacts{of(11, 5, Container{})}, 0},
		{"of the owner", []ProcessFacts{of(11, 6, inside), of(12, 5, inside)}, 12},
		{"of nobody", []ProcessFacts{of(11, 6, inside)}, 0},
	} {
		if got := Within(c.all, 5); got != c.want {
			t.Errorf("%s: within %d, want %d", c.name, got, c.want)
		}
	}
}
