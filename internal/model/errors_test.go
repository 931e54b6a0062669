package model

import (
	"errors"
	"io/fs"
	"testing"
)

func TestRefusedErrorText(t *testing.T) {
	uring := Refusal{Member: "etcd1", PID: 12, Object: "fd 7", Kind: "anon_inode:[io_uring]", Why: "a ring cannot be recreated"}
	root := Refusal{Object: "privileges", Why: "not root"}
	for _, tt := range []struct {
		err  RefusedError
		want string
	}{
		{RefusedError{}, "refused"},
		{RefusedError{[]Refusal{uring}}, "refused: etcd1 (pid 12): fd 7 anon_inode:[io_uring]: a ring cannot be recreated"},
		{RefusedError{[]Refusal{root}}, "refused: privileges: not root"},
		{RefusedError{[]Refusal{{PID: 3, Why: "gone"}, root}}, "refused: pid 3: gone (and 1 more)"},
		{RefusedError{[]Refusal{{Member: "a", Why: "gone"}}}, "refused: a: gone"},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestErrorsKeepTheirCause(t *testing.T) {
	for _, err := range []error{&UsageError{Err: fs.ErrNotExist}, &HintError{Err: fs.ErrNotExist, Hint: "look"}} {
		if !errors.Is(err, fs.ErrNotExist) || err.Error() != fs.ErrNotExist.Error() {
			t.Errorf("%T hides its cause: %v", err, err)
		}
	}
}
