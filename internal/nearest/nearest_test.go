package nearest

import "testing"

func TestTo(t *testing.T) {
	keys := []string{"cluster", "members", "checks", "max-pause", "timeout", "settle"}
	for _, tt := range []struct{ word, want string }{
		{"max_pause", "max-pause"},
		{"maxpause", "max-pause"},
		{"member", "members"},
		{"setlte", "settle"},
		{"chekcs", "checks"},
		{"timeout", "timeout"},
		{"colour", ""},
		{"", ""},
		{"x", ""},
		{"éa", ""},
	} {
		if got := To(tt.word, keys); got != tt.want {
			t.Errorf("To(%q) = %q, want %q", tt.word, got, tt.want)
		}
	}
	if got := To("rn", []string{"rm", "run"}); got != "rm" {
		t.Errorf("first of equals: got %q", got)
	}
}

func FuzzDistanceIsSymmetric(f *testing.F) {
	f.Add("abc", "acb")
	f.Fuzz(func(t *testing.T, a, b string) {
		if len(a)+len(b) > 200 {
			return
		}
		x, y := []rune(a), []rune(b)
		if d, e := distance(x, y), distance(y, x); d != e || (d == 0) != (string(x) == string(y)) {
			t.Errorf("distance(%q, %q) = %d and %d", a, b, d, e)
		}
	})
}
