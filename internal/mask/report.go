package mask

import (
	"reflect"

	"github.com/pilotexec/pilot/internal/model"
)

// Report is a copy of r in which what looks like a secret is hidden, wherever it
// stands. r is not changed.
func Report(r *model.Report) *model.Report { return Value(r) }

// Value is a deep copy of v in which every string is masked, so that fields that
// are added later are masked as well. Maps and interfaces are not expected in
// plain data, and are emptied.
func Value[T any](v T) T {
	var out T
	copyMasked(reflect.ValueOf(&out).Elem(), reflect.ValueOf(&v).Elem(), "")
	return out
}

// arguments are the fields that hold the arguments of a command; other lists of
// strings are lines.
func arguments(field string) bool {
	switch field {
	case "Args", "Action", "Command", "Env":
		return true
	}
	return false
}

func copyMasked(to, from reflect.Value, field string) {
	switch from.Kind() {
	case reflect.String:
		to.SetString(Text(from.String()))
	case reflect.Pointer:
		if !from.IsNil() {
			to.Set(reflect.New(from.Type().Elem()))
			copyMasked(to.Elem(), from.Elem(), field)
		}
	case reflect.Slice:
		if !from.IsNil() {
			copyList(to, from, field)
		}
	case reflect.Struct:
		to.Set(from) // times have fields of their own that cannot be set
		for i := range from.NumField() {
			if f := from.Type().Field(i); f.IsExported() {
				copyMasked(to.Field(i), from.Field(i), f.Name)
			}
		}
	case reflect.Map, reflect.Interface, reflect.Func, reflect.Chan, reflect.UnsafePointer, reflect.Array:
		to.SetZero()
	default:
		to.Set(from)
	}
}

func copyList(to, from reflect.Value, field string) {
	switch list := from.Interface().(type) {
	case []string:
		masked := Lines
		if arguments(field) {
			masked = Args
		}
		to.Set(reflect.ValueOf(masked(list)))
		return
	case []model.Evidence:
		to.Set(reflect.ValueOf(evidence(list)))
		return
	}
	to.Set(reflect.MakeSlice(from.Type(), from.Len(), from.Len()))
	for i := range from.Len() {
		copyMasked(to.Index(i), from.Index(i), field)
	}
}

// evidence may quote the lines of a key one by one.
func evidence(list []model.Evidence) []model.Evidence {
	texts := make([]string, len(list))
	for i, e := range list {
		texts[i] = e.Text
	}
	out := make([]model.Evidence, len(list))
	for i, text := range Lines(texts) {
		out[i] = model.Evidence{Source: Text(list[i].Source), Text: text}
	}
	return out
}
