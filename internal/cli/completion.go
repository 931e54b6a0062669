package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/nearest"
)

var shells = []string{"bash", "zsh", "fish"}

func completionCommand() command {
	return command{
		name: "completion", args: strings.Join(shells, "|"), operand: "shell",
		short: "write a completion script for a shell",
		long: `bash:  source <(pilot completion bash)
zsh:   source <(pilot completion zsh)
fish:  pilot completion fish | source`,
		setup: func(a *app, _ *flag.FlagSet) action {
			return func(_ context.Context, operands []string) (int, error) { return ExitPass, a.completion(operands) }
		},
	}
}

func (a *app) completion(operands []string) error {
	if len(operands) != 1 {
		return &model.UsageError{Err: errors.New("completion for which shell?"), Hint: "pilot completion " + strings.Join(shells, "|")}
	}
	lines := completions()
	switch operands[0] {
	case "bash":
		return writeBash(a.Stdout, lines)
	case "zsh":
		return writeZsh(a.Stdout, lines)
	case "fish":
		return writeFish(a.Stdout, lines)
	}
	misuse := &model.UsageError{Err: fmt.Errorf("no completion for shell %q", operands[0]), Hint: "pilot completion " + strings.Join(shells, "|")}
	if guess := nearest.To(operands[0], shells); guess != "" {
		misuse.Hint = fmt.Sprintf("did you mean %q?", "pilot completion "+guess)
	}
	return misuse
}

// A completionLine is what may follow "pilot NAME".
type completionLine struct {
	name, short, operand string
	flags                []*flag.Flag
}

func completions() []completionLine {
	var list []completionLine
	for _, c := range commands() {
		l := completionLine{name: c.name, short: c.short, operand: c.operand}
		fs := c.flagSet()
		c.setup(&app{}, fs)
		fs.VisitAll(func(f *flag.Flag) { l.flags = append(l.flags, f) })
		list = append(list, l)
	}
	return list
}

// words are the fixed words that may stand as operand: of shells and commands.
func (l completionLine) words() []string {
	switch l.operand {
	case "shell":
		return shells
	case "help":
		return commandNames()
	}
	return nil
}

func (l completionLine) dashedFlags() string {
	var list []string
	for _, f := range l.flags {
		list = append(list, dashed(f.Name))
	}
	return strings.Join(list, " ")
}

// runIDs is shell text that lists the ids of runs.
const runIDs = `pilot ps 2>/dev/null | tail -n +2 | cut -d" " -f1`

func writeBash(w io.Writer, lines []completionLine) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# bash completion of pilot\n_pilot() {\n  local cur=${COMP_WORDS[COMP_CWORD]} words=\n")
	fmt.Fprintf(&b, "  if ((COMP_CWORD == 1)); then\n    words='%s'\n  else\n    case ${COMP_WORDS[1]} in\n", strings.Join(commandNames(), " "))
	for _, l := range lines {
		words := strings.TrimSpace(l.dashedFlags() + " " + strings.Join(l.words(), " "))
		fmt.Fprintf(&b, "    %s) words='%s'", l.name, words)
		if l.operand == "run" {
			fmt.Fprintf(&b, "; [[ $cur == -* ]] || words=\"latest $(%s)\"", runIDs)
		}
		fmt.Fprintln(&b, " ;;")
	}
	b.WriteString(`    esac
    local i
    for ((i = 2; i < COMP_CWORD; i++)); do
      if [[ ${COMP_WORDS[i]} == -- ]]; then
        COMPREPLY=($(compgen -c -f -- "$cur"))
        return
      fi
    done
  fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _pilot pilot
`)
	_, err := io.WriteString(w, b.String())
	return err
}

func writeZsh(w io.Writer, lines []completionLine) error {
	var b strings.Builder
	b.WriteString("#compdef pilot\n_pilot() {\n  if ((CURRENT == 2)); then\n    local -a commands=(\n")
	for _, l := range lines {
		fmt.Fprintf(&b, "      %s\n", shellQuote(l.name+":"+strings.ReplaceAll(l.short, ":", `\:`)))
	}
	b.WriteString("    )\n    _describe command commands\n    return\n  fi\n  if ((${words[(I)--]} > 0 && ${words[(I)--]} < CURRENT)); then\n    _normal\n    return\n  fi\n  case ${words[2]} in\n")
	for _, l := range lines {
		fmt.Fprintf(&b, "  %s) compadd -- %s", l.name, strings.TrimSpace(l.dashedFlags()+" "+strings.Join(l.words(), " ")))
		if l.operand == "run" {
			fmt.Fprintf(&b, " latest $(%s)", runIDs)
		}
		b.WriteString("; _files ;;\n")
	}
	b.WriteString("  esac\n}\ncompdef _pilot pilot\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func writeFish(w io.Writer, lines []completionLine) error {
	var b strings.Builder
	b.WriteString("# fish completion of pilot\ncomplete -c pilot -f\n")
	for _, l := range lines {
		fmt.Fprintf(&b, "complete -c pilot -n __fish_use_subcommand -a %s -d %s\n", l.name, shellQuote(l.short))
		seen := fmt.Sprintf("-n '__fish_seen_subcommand_from %s'", l.name)
		for _, f := range l.flags {
			value, text := flag.UnquoteUsage(f)
			kind := "-l " + f.Name
			if len(f.Name) == 1 {
				kind = "-s " + f.Name
			}
			if value != "" {
				kind += " -r"
			}
			if value == "file" || strings.Contains(value, "path") {
				kind += " -F"
			}
			fmt.Fprintf(&b, "complete -c pilot %s %s -d %s\n", seen, kind, shellQuote(text))
		}
		switch {
		case l.operand == "run":
			fmt.Fprintf(&b, "complete -c pilot %s -a %s\n", seen, shellQuote("latest ("+runIDs+")"))
		case l.operand == "command":
			fmt.Fprintf(&b, "complete -c pilot %s -a '(__fish_complete_command)'\n", seen)
		case len(l.words()) > 0:
			fmt.Fprintf(&b, "complete -c pilot %s -a %s\n", seen, shellQuote(strings.Join(l.words(), " ")))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
