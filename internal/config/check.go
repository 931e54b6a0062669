package config

import (
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

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

func (p *parser) check(n *yaml.Node) Check {
	if n.Kind == yaml.ScalarNode {
		return Shell(p.text(n, "a check"))
	}
	c := Check{Timeout: DefaultCheckTimeout}
	before := len(p.errs)
	var given []string // of the ways to ask
	p.mapping(n, "a check",
		field{"name", func(n *yaml.Node) { c.Name = p.text(n, "name") }},
		field{"command", func(n *yaml.Node) { given = append(given, "command"); c.Command = p.command(n) }},
		field{"http", func(n *yaml.Node) { given = append(given, "http"); c.Ask = []string{"http", "body", p.text(n, "http")} }},
		field{"tcp", func(n *yaml.Node) { given = append(given, "tcp"); c.Ask = []string{"tcp", p.text(n, "tcp")} }},
		field{"file", func(n *yaml.Node) {
			given = append(given, "file")
			c.Command = []string{"cat", "--", p.path(p.text(n, "file"))}
		}},
		field{"timeout", func(n *yaml.Node) { c.Timeout = p.duration(n, "timeout", lowTimeout) }},
		field{"expect", func(n *yaml.Node) { c.Expect = p.pattern(n, "expect") }},
		field{"preserve", func(n *yaml.Node) { c.Preserve = p.truth(n, "preserve") }},
		field{"not-less", func(n *yaml.Node) { c.NotLess = p.truth(n, "not-less") }},
		field{"same-as-control", func(n *yaml.Node) { c.SameAsControl = p.truth(n, "same-as-control") }},
		field{"when", func(n *yaml.Node) { c.When = p.text(n, "when") }},
	)
	if len(p.errs) == before {
		p.sensible(n, c, given)
	}
	if c.Name == "" {
		c.Name = strings.Join(append(c.Ask, c.Command...), " ")
		if len(c.Command) == 3 && c.Command[0] == "sh" && c.Command[1] == "-c" {
			c.Name = c.Command[2]
		}
	}
	return c
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

// whens are when a check can be run.
var whens = []string{"before", "after", "always"}

// sensible refuses a check that cannot be what was meant.
func (p *parser) sensible(n *yaml.Node, c Check, given []string) {
	switch {
	case len(given) == 0:
		p.errorf(n, "a check needs a command, or http, tcp or file")
	case len(given) > 1:
		p.errorf(n, "a check asks in one way, not by %s", strings.Join(given, " and "))
	case c.When != "" && !slices.Contains(whens, c.When):
		p.errorf(n, "when: %q is none of %s", c.When, strings.Join(whens, ", "))
	case (c.When == "before" || c.When == "after") && (c.Preserve || c.NotLess):
		p.errorf(n, "preserve and not-less compare before with after, so that when: %s cannot be", c.When)
	case c.When == "before" && c.SameAsControl:
		p.errorf(n, "same-as-control is about what comes after the action")
	}
}

// logs decodes the rules about lines of logs.
func (p *parser) logs(n *yaml.Node) (list []LogRule) {
	for _, e := range p.sequence(n, "logs") {
		e = resolve(e)
		before := len(p.errs)
		var forbid, require, severity string
		p.mapping(e, "a rule about logs",
			field{"forbid", func(n *yaml.Node) { forbid = p.pattern(n, "forbid") }},
			field{"require", func(n *yaml.Node) { require = p.pattern(n, "require") }},
			field{"severity", func(n *yaml.Node) { severity = p.text(n, "severity") }},
		)
		switch {
		case len(p.errs) > before:
		case (forbid == "") == (require == ""):
			p.errorf(e, "a rule about logs needs a pattern that it forbids or requires, and one only")
		case severity != "" && severity != "error" && severity != "warning":
			p.errorf(e, "severity: %q is neither error nor warning", severity)
		default:
			list = append(list, LogRule{Pattern: forbid + require, Require: require != "", Warning: severity == "warning"})
		}
	}
	return list
}
