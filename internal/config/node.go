package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/nearest"
	"go.yaml.in/yaml/v3"
)

// A parser walks the document and keeps going after an error, so that one
// reading of the file shows everything that is wrong with it.
type parser struct {
	file string
	dir  string // where relative data paths start
	errs []error
}

func (p *parser) errorf(n *yaml.Node, format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("%s:%d: %s", p.file, n.Line, fmt.Sprintf(format, args...)))
}

func (p *parser) err() error { return errors.Join(p.errs...) }

// A field decodes the value of one key.
type field struct {
	key    string
	decode func(*yaml.Node)
}

// mapping hands every value of n to the field of its key.
func (p *parser) mapping(n *yaml.Node, what string, fields ...field) {
	if n = resolve(n); n.Kind != yaml.MappingNode {
		p.errorf(n, "%s must have the form \"key: value\", not %s", what, kind(n))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		decode := lookup(fields, key.Value)
		switch first, twice := seen[key.Value]; {
		case decode == nil:
			p.unknown(key, fields)
		case twice:
			p.errorf(key, "%s is given twice, first on line %d", key.Value, first)
		default:
			decode(resolve(value))
		}
		seen[key.Value] = key.Line
	}
}

func lookup(fields []field, key string) func(*yaml.Node) {
	for _, f := range fields {
		if f.key == key {
			return f.decode
		}
	}
	return nil
}

func (p *parser) unknown(key *yaml.Node, fields []field) {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.key
	}
	if guess := nearest.To(key.Value, names); guess != "" {
		p.errorf(key, "unknown key %q, did you mean %q?", key.Value, guess)
		return
	}
	p.errorf(key, "unknown key %q, known are %s", key.Value, strings.Join(names, ", "))
}

// text returns a non-empty scalar.
func (p *parser) text(n *yaml.Node, what string) string {
	if n = resolve(n); n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		p.errorf(n, "%s must be text, not %s", what, kind(n))
		return ""
	}
	switch {
	case strings.TrimSpace(n.Value) == "":
		p.errorf(n, "%s is empty", what)
	case strings.ContainsRune(n.Value, 0):
		p.errorf(n, "%s holds a NUL byte", what)
	}
	return n.Value
}

// list returns the elements of a sequence of texts.
func (p *parser) list(n *yaml.Node, what string) []string {
	elems := p.sequence(n, what)
	if elems == nil {
		return nil
	}
	texts := make([]string, len(elems))
	for i, e := range elems {
		texts[i] = p.text(e, fmt.Sprintf("element %d of %s", i+1, what))
	}
	return texts
}

// sequence returns the elements of a list, which must not be empty.
func (p *parser) sequence(n *yaml.Node, what string) []*yaml.Node {
	if n = resolve(n); n.Kind != yaml.SequenceNode {
		p.errorf(n, "%s must be a list, not %s", what, kind(n))
		return nil
	}
	if len(n.Content) == 0 {
		p.errorf(n, "%s is empty", what)
	}
	return n.Content
}

// duration returns a duration of at least low.
func (p *parser) duration(n *yaml.Node, what string, low time.Duration) time.Duration {
	d, err := duration(p.text(n, what), low)
	if err != nil {
		p.errorf(n, "%s: %v", what, err)
	}
	return d
}

// duration parses s, which must be at least low.
func duration(s string, low time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is not a duration such as 250ms, 5s or 2m", s)
	case d < low && low == 0:
		return 0, fmt.Errorf("%s is negative", s)
	case d < low:
		return 0, fmt.Errorf("%s is less than %s", s, low)
	}
	return d, nil
}

func (p *parser) pid(n *yaml.Node) int {
	s := p.text(n, "pid")
	pid, err := strconv.Atoi(s)
	if err != nil || pid <= 0 {
		p.errorf(n, "pid: %q is not a process id", s)
		return 0
	}
	return pid
}

// resolve follows an alias to what it stands for.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

// kind names what n is to somebody who does not know YAML's terms.
func kind(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "keys and values"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "nothing"
	default:
		return strconv.Quote(n.Value)
	}
}
