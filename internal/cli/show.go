package cli

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"

	"github.com/pilotexec/pilot/internal/mask"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/page"
	"github.com/pilotexec/pilot/internal/report"
)

// formatHTML is a format of reports alone.
const formatHTML format = "html"

// A display says how a report is shown.
type display struct {
	format format // empty when it was not given
	html   string // the file of a page, or empty
	unmask bool
}

// displayFlags declares -o, --json, --html and --unmask on fs.
func displayFlags(fs *flag.FlagSet) *display {
	d := &display{}
	fs.Func("o", "output `format`: text, json or html (default text)", func(s string) error {
		if d.format = format(s); d.format == formatHTML {
			return nil
		}
		if d.format.Set(s) != nil {
			return fmt.Errorf("%q is not text, json or html", s)
		}
		return nil
	})
	fs.BoolFunc("json", "same as -o json", func(s string) error {
		on, err := strconv.ParseBool(s)
		if err == nil && on {
			d.format = formatJSON
		}
		return err
	})
	fs.StringVar(&d.html, "html", "", "write the report as an HTML page to this `file`")
	fs.BoolVar(&d.unmask, "unmask", false, "show what looks like a secret")
	return d
}

// show writes r to stdout, and its page to a file when one is asked for.
func (a *app) show(r *model.Report, d display) error {
	if !d.unmask {
		r = mask.Report(r)
	}
	return errors.Join(a.print(r, d), a.writePage(r, d))
}

func (a *app) print(r *model.Report, d display) error {
	switch d.format {
	case formatJSON:
		return report.JSON(a.Stdout, r)
	case formatHTML:
		return page.Page{Report: r, Unmasked: d.unmask}.Write(a.Stdout)
	}
	return report.Text(a.Stdout, r, a.color())
}

// writePage writes the page for its owner only, as the stored report is: it
// quotes command lines and logs of production.
func (a *app) writePage(r *model.Report, d display) error {
	if d.html == "" {
		return nil
	}
	var b bytes.Buffer
	if err := (page.Page{Report: r, Unmasked: d.unmask}).Write(&b); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	if err := os.WriteFile(d.html, b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	fmt.Fprintf(a.Stderr, "pilot: wrote %s\n", d.html)
	return nil
}
