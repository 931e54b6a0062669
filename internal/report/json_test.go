package report

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func encode(t *testing.T, r *model.Report) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := JSON(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestJSONGolden(t *testing.T) {
	golden(t, "fail.json", encode(t, failing()))
	golden(t, "pass.json", encode(t, bare()))
}

func TestJSONCanBeReadBack(t *testing.T) {
	want := failing()
	var got model.Report
	if err := json.Unmarshal(encode(t, want), &got); err != nil {
		t.Fatal(err)
	}
	want.Trial.Events = nil // they are stored elsewhere
	if !reflect.DeepEqual(&got, want) {
		t.Errorf("got  %+v\nwant %+v", got, *want)
	}
}

func compile(t *testing.T) *jsonschema.Schema {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile(filepath.Join("..", "..", "docs", "report.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func TestJSONFollowsTheSchema(t *testing.T) {
	schema := compile(t)
	for _, r := range []*model.Report{failing(), bare()} {
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(encode(t, r)))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); err != nil {
			t.Errorf("run %s: %v", r.ID, err)
		}
	}
}

func TestSchemaRejects(t *testing.T) {
	schema := compile(t)
	for name, spoil := range map[string]func(map[string]any){
		"unknown field":   func(m map[string]any) { m["extra"] = 1 },
		"no verdict":      func(m map[string]any) { delete(m, "verdict") },
		"unknown status":  func(m map[string]any) { m["verdict"].(map[string]any)["status"] = "maybe" },
		"other version":   func(m map[string]any) { m["version"] = model.Version + 1 },
		"null in a list":  func(m map[string]any) { m["verdict"].(map[string]any)["findings"] = nil },
		"duration a text": func(m map[string]any) { m["pause"].(map[string]any)["total_ns"] = "1ms" },
	} {
		var m map[string]any
		if err := json.Unmarshal(encode(t, failing()), &m); err != nil {
			t.Fatal(err)
		}
		spoil(m)
		if err := schema.Validate(m); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
