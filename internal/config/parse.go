package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Low limits of the settings.
const (
	lowPause   = time.Millisecond
	lowTimeout = 100 * time.Millisecond
)

// Parse decodes the text of a pilot.yaml that is called file in errors.
// Relative data paths start at dir. Errors are joined, one line each.
func Parse(file string, text []byte, dir string) (*Config, error) {
	root, err := document(file, text)
	if err != nil {
		return nil, err
	}
	c, p := Default(), &parser{file: file, dir: dir}
	if root == nil {
		return c, nil
	}
	fields := []field{
		{"cluster", func(n *yaml.Node) { c.Cluster = p.text(n, "cluster") }},
		{"members", func(n *yaml.Node) { c.Members = p.members(n) }},
		{"checks", func(n *yaml.Node) { c.Checks = p.checks(n) }},
		{"egress", func(n *yaml.Node) { c.Egress = p.egress(n) }},
	}
	for _, s := range settings {
		fields = append(fields, field{s.flag, func(n *yaml.Node) { p.setting(n, s, c) }})
	}
	p.mapping(root, "the file", fields...)
	if err := p.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// setting hands the value of a setting's key to it.
func (p *parser) setting(n *yaml.Node, s setting, c *Config) {
	if err := s.set(c, p.text(n, s.flag)); err != nil {
		p.errorf(n, "%s: %v", s.flag, err)
	}
}

// document returns the root of the only document in text, nil when it is empty.
func document(file string, text []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, second yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, syntax(file, err)
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		return nil, fmt.Errorf("%s:%d: only one document is allowed", file, second.Line)
	case !errors.Is(err, io.EOF):
		return nil, syntax(file, err)
	}
	if len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
		return nil, nil
	}
	return doc.Content[0], nil
}

// syntax puts an error of the YAML decoder, "yaml: line 3: …", into our form.
func syntax(file string, err error) error {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(msg, "line "); ok {
		return fmt.Errorf("%s:%s", file, rest)
	}
	return fmt.Errorf("%s: %s", file, msg)
}

func (p *parser) members(n *yaml.Node) []Member {
	var members []Member
	lines := map[string]int{}
	for _, e := range p.sequence(n, "members") {
		m, ok := p.member(resolve(e))
		if !ok {
			continue
		}
		if first, twice := lines[m.Name]; twice && m.Name != "" {
			p.errorf(e, "member %q is given twice, first on line %d", m.Name, first)
		}
		lines[m.Name] = e.Line
		members = append(members, m)
	}
	return members
}

// member decodes one member and reports whether it is whole.
func (p *parser) member(n *yaml.Node) (m Member, ok bool) {
	before := len(p.errs)
	p.mapping(n, "a member",
		field{"name", func(n *yaml.Node) { m.Name = p.text(n, "name") }},
		field{"match", func(n *yaml.Node) { m.Match = p.text(n, "match") }},
		field{"pid", func(n *yaml.Node) { m.PID = p.pid(n) }},
		field{"data", func(n *yaml.Node) { m.Data = p.data(n) }},
		field{"command", func(n *yaml.Node) { m.Command = p.command(n) }},
	)
	if len(p.errs) > before {
		return m, false
	}
	if problem := m.problem(); problem != "" {
		p.errorf(n, "%s", problem)
		return m, false
	}
	return m, true
}

// problem says what makes m ambiguous or useless.
func (m Member) problem() string {
	who := "a member"
	if m.Name != "" {
		who = fmt.Sprintf("member %q", m.Name)
	}
	down := m.Match == "" && m.PID == 0
	switch {
	case m.Match != "" && m.PID != 0:
		return who + " has both match and pid, give one"
	case m.PID != 0 && len(m.Command) > 0:
		return who + " has both pid and command; command is for a node that is down"
	case down && m.Name == "":
		return who + " has neither match nor pid, and a node that is down needs a name"
	case down && len(m.Data) == 0:
		return who + " has neither match nor pid, and a node that is down needs data"
	case len(m.Command) > 0 && (m.Name == "" || len(m.Data) == 0):
		return who + " has a command, so it may be down and needs name and data as well"
	}
	return ""
}

// data decodes one path or a list of paths.
func (p *parser) data(n *yaml.Node) []string {
	var paths []string
	if n.Kind == yaml.ScalarNode {
		paths = []string{p.text(n, "data")}
	} else {
		paths = p.list(n, "data")
	}
	for i, path := range paths {
		if !filepath.IsAbs(path) {
			path = filepath.Join(p.dir, path)
		}
		paths[i] = filepath.Clean(path)
		if paths[i] == "/" {
			p.errorf(n, "data: / cannot be copied, name the directory that the member writes to")
		}
	}
	return paths
}

// command decodes a line for sh or a list of arguments.
func (p *parser) command(n *yaml.Node) []string {
	if n.Kind == yaml.SequenceNode {
		return p.list(n, "command")
	}
	return []string{"sh", "-c", p.text(n, "command")}
}

func (p *parser) checks(n *yaml.Node) []Check {
	var checks []Check
	lines := map[string]int{}
	for _, e := range p.sequence(n, "checks") {
		c := p.check(resolve(e))
		if first, twice := lines[c.Name]; twice && c.Name != "" {
			p.errorf(e, "check %q is given twice, first on line %d", c.Name, first)
		}
		lines[c.Name] = e.Line
		checks = append(checks, c)
	}
	return checks
}

// pattern decodes a regular expression.
func (p *parser) pattern(n *yaml.Node, what string) string {
	text := p.text(n, what)
	if _, err := regexp.Compile(text); err != nil {
		p.errorf(n, "%s: %v", what, err)
	}
	return text
}

// truth decodes true or false.
func (p *parser) truth(n *yaml.Node, what string) (yes bool) {
	if n.Kind != yaml.ScalarNode || n.Decode(&yes) != nil {
		p.errorf(n, "%s must be true or false", what)
	}
	return yes
}

func (p *parser) check(n *yaml.Node) Check {
	if n.Kind == yaml.ScalarNode {
		return Shell(p.text(n, "a check"))
	}
	c := Check{Timeout: DefaultCheckTimeout}
	before := len(p.errs)
	p.mapping(n, "a check",
		field{"name", func(n *yaml.Node) { c.Name = p.text(n, "name") }},
		field{"command", func(n *yaml.Node) { c.Command = p.command(n) }},
		field{"timeout", func(n *yaml.Node) { c.Timeout = p.duration(n, "timeout", lowTimeout) }},
		field{"expect", func(n *yaml.Node) { c.Expect = p.pattern(n, "expect") }},
		field{"preserve", func(n *yaml.Node) { c.Preserve = p.truth(n, "preserve") }},
		field{"not-less", func(n *yaml.Node) { c.NotLess = p.truth(n, "not-less") }},
		field{"same-as-control", func(n *yaml.Node) { c.SameAsControl = p.truth(n, "same-as-control") }},
	)
	if len(p.errs) == before && len(c.Command) == 0 {
		p.errorf(n, "a check needs a command")
	}
	if c.Name == "" {
		c.Name = strings.Join(c.Command, " ")
		if len(c.Command) == 3 && c.Command[0] == "sh" && c.Command[1] == "-c" {
			c.Name = c.Command[2]
		}
	}
	return c
}
