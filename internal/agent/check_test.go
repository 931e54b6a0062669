//go:build linux

package agent

import (
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
)

func TestCheckRelease(t *testing.T) {
	got := checkRelease("5.10.0-30-amd64")
	if len(got) != 1 || !strings.Contains(got[0].String(), "5.10.0-30-amd64") || got[0].Hint == "" {
		t.Errorf("an old kernel is refused by %v", got)
	}
	if got := checkRelease("6.18.0"); len(got) > 0 {
		t.Errorf("a new kernel is refused: %v", got)
	}
}

func TestCheckData(t *testing.T) {
	members := []model.Member{{Name: "a", Data: []string{t.TempDir()}}, {Name: "b", Data: []string{"/nonexistent"}}}
	got := checkData(members)
	if len(got) != 1 || got[0].Member != "b" || got[0].Object != "/nonexistent" {
		t.Errorf("got %v", got)
	}
}
