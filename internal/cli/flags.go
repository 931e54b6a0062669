package cli

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/pilotexec/pilot/internal/config"
	"github.com/pilotexec/pilot/internal/injury"
	"github.com/pilotexec/pilot/internal/model"
)

// A texts is a flag that may be given several times.
type texts []string

func (t *texts) String() string { return strings.Join(*t, ",") }

// Set adds s.
func (t *texts) Set(s string) error {
	if strings.TrimSpace(s) == "" {
		return errors.New("the value is empty")
	}
	*t = append(*t, s)
	return nil
}

// A pids is a flag of process ids, repeated or with commas.
type pids []int

func (p *pids) String() string { return strings.Trim(fmt.Sprint([]int(*p)), "[]") }

// Set adds the ids in s.
func (p *pids) Set(s string) error {
	for field := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil || n <= 0 {
			return fmt.Errorf("%q is not a process id", field)
		}
		*p = append(*p, n)
	}
	return nil
}

// A rules is a flag of policies for peers, repeated.
type rules []config.Egress

func (r *rules) String() string {
	var list []string
	for _, e := range *r {
		list = append(list, e.Peer+"="+e.Policy)
	}
	return strings.Join(list, ",")
}

// Set adds the rule in s.
func (r *rules) Set(s string) error {
	e, err := config.ParseEgress(s)
	if err == nil {
		*r = append(*r, e)
	}
	return err
}

// injuries is the flag --also-fail, repeatable.
type injuries []model.Injury

func (i *injuries) String() string {
	var list []string
	for _, one := range *i {
		list = append(list, one.String())
	}
	return strings.Join(list, ",")
}

// Set adds the second failure in s.
func (i *injuries) Set(s string) error {
	one, err := injury.Parse(s)
	if err == nil {
		*i = append(*i, one)
	}
	return err
}

// A format is the flag -o.
type format string

const (
	formatText format = "text"
	formatJSON format = "json"
)

func (f *format) String() string { return string(*f) }

// Set accepts a format that we have.
func (f *format) Set(s string) error {
	switch format(s) {
	case formatText, formatJSON:
		*f = format(s)
		return nil
	}
	return fmt.Errorf("%q is not text or json", s)
}

// formatFlags declares -o and --json on fs.
func formatFlags(fs *flag.FlagSet) *format {
	f := formatText
	fs.Var(&f, "o", "output `format`: text or json")
	fs.BoolFunc("json", "same as -o json", func(s string) error {
		on, err := strconv.ParseBool(s)
		if err == nil && on {
			f = formatJSON
		}
		return err
	})
	return &f
}

// encode writes v as one indented JSON object.
func encode(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
