package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pilotexec/pilot/internal/peer"
	"go.yaml.in/yaml/v3"
)

// ParseEgress reads PEER=POLICY, the form of the flag.
func ParseEgress(text string) (Egress, error) {
	at := strings.LastIndexByte(text, '=')
	if at < 0 {
		return Egress{}, fmt.Errorf("%q is not PEER=POLICY", text)
	}
	e := Egress{Peer: text[:at], Policy: text[at+1:]}
	return e, e.problem()
}

// problem says what is wrong with e.
func (e Egress) problem() error {
	if _, err := peer.Parse(e.Peer); err != nil {
		return err
	}
	policy, err := peer.ParsePolicy(e.Policy)
	if err == nil && e.Reply != "" && policy != peer.Stub {
		err = errors.New("reply is for the policy stub")
	}
	return err
}

func (p *parser) egress(n *yaml.Node) (list []Egress) {
	for _, e := range p.sequence(n, "egress") {
		e = resolve(e)
		before := len(p.errs)
		var rule Egress
		p.mapping(e, "an egress rule",
			field{"peer", func(n *yaml.Node) { rule.Peer = p.text(n, "peer") }},
			field{"policy", func(n *yaml.Node) { rule.Policy = p.text(n, "policy") }},
			field{"reply", func(n *yaml.Node) { rule.Reply = p.text(n, "reply") }},
		)
		if len(p.errs) > before {
			continue
		}
		if rule.Peer == "" || rule.Policy == "" {
			p.errorf(e, "an egress rule needs a peer and a policy")
			continue
		}
		if err := rule.problem(); err != nil {
			p.errorf(e, "%v", err)
			continue
		}
		list = append(list, rule)
	}
	return list
}
