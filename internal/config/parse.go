package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
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
		{"logs", func(n *yaml.Node) { c.Logs = p.logs(n) }},
		{"egress", func(n *yaml.Node) { c.Egress = p.egress(n) }},
		{"also-fail", func(n *yaml.Node) { c.AlsoFail = p.list(n, "also-fail") }},
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
// path is an absolute path, whose beginning may have been left out.
func (p *parser) path(text string) string {
	if !filepath.IsAbs(text) {
		text = filepath.Join(p.dir, text)
	}
	return filepath.Clean(text)
}

func (p *parser) data(n *yaml.Node) []string {
	var paths []string
	if n.Kind == yaml.ScalarNode {
		paths = []string{p.text(n, "data")}
	} else {
		paths = p.list(n, "data")
	}
	for i, path := range paths {
		paths[i] = p.path(path)
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
