package injury

import (
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]model.Injury{
		"e2@2s":                      {Kind: "kill", Member: "e2", When: "2s"},
		"kill:e2@action":             {Kind: "kill", Member: "e2", When: "action"},
		"stop:e2@done":               {Kind: "stop", Member: "e2", When: "done"},
		"stop=5s:e2@log:became .*@x": {Kind: "stop", Member: "e2", When: "log:became .*@x", For: 5 * time.Second},
		"partition=1m:e2@0s":         {Kind: "partition", Member: "e2", When: "0s", For: time.Minute},
		"e2@file:/srv/e2/x":          {Kind: "kill", Member: "e2", When: "file:/srv/e2/x"},
	} {
		got, err := Parse(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
		if again, err := Parse(got.String()); err != nil || again != got {
			t.Errorf("%s: written as %s it is %+v, %v", text, got, again, err)
		}
	}
	for text, says := range map[string]string{
		"e2":              "is not [KIND:]MEMBER@WHEN",
		"@2s":             "is not [KIND:]MEMBER@WHEN",
		"kill:@2s":        "whose failure",
		"kil:e2@2s":       `did you mean "kill"`,
		"flood:e2@2s":     "there are kill, stop, partition, slow-disk, disk-full",
		"kill=5s:e2@2s":   "cannot be taken back",
		"stop=-5s:e2@2s":  "is not a duration",
		"stop=soon:e2@2s": "is not a duration",
		"e2@soon":         "is no moment",
		"e2@-2s":          "is no moment",
		"e2@log:":         "matches every line",
		"e2@log:(":        "missing closing",
		"e2@log:.*":       "matches every line",
		"e2@file:x":       "not an absolute path",
	} {
		if got, err := Parse(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %+v, %v; want %q", text, got, err, says)
		}
	}
}

func TestMembers(t *testing.T) {
	members := []model.Member{{Name: "etcd1"}, {Name: "etcd2"}}
	if err := Members([]model.Injury{{Member: "etcd2"}}, members); err != nil {
		t.Error(err)
	}
	err := Members([]model.Injury{{Kind: "kill", Member: "etcd3", When: "2s"}}, members)
	if err == nil || !strings.Contains(err.Error(), `kill:etcd3@2s: no member is called "etcd3"; did you mean`) {
		t.Error(err)
	}
}
