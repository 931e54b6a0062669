package verdict

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pilotexec/pilot/internal/model"
)

const (
	maxQuotes = 5   // lines quoted of one output
	maxQuote  = 400 // bytes quoted of one line
)

// panics are what a runtime prints when a program dies of a bug.
var panics = []string{
	`^panic: `, `^fatal error: `, `^SIG[A-Z]+: `, // Go runtime
	`A fatal error has been detected by the J`,   // JVM
	`terminate called after`, `Assertion .*fail`, // C and C++
	`AddressSanitizer`, `Segmentation fault`, `stack smashing detected`,
	`REDIS BUG REPORT START`,
	`^thread '.*' panicked at `, // Rust
}

// fatals are what a program logs when it chooses to end.
var fatals = []string{
	`"level":\s*"(fatal|panic|dpanic|FATAL|PANIC)"`, `\blevel=(fatal|panic)\b`, // zap, logrus
	`^F\d{4} \d\d:\d\d`,        // glog
	`\[(FTL|FATAL)\]`,          // NATS
	`\b(FATAL|PANIC|EMERG)\b`,  // log4j, PostgreSQL
	` [CF] \| `,                // capnslog
	`^Exception in thread`,     // JVM
	`\bOutOfMemoryError\b`,     // JVM
	`^Traceback \(most recent`, // Python
}

var (
	panicLine = regexp.MustCompile(strings.Join(panics, "|"))
	crashLine = regexp.MustCompile(strings.Join(slices.Concat(panics, fatals), "|"))
)

// exceptionLine matches an exception of a JVM program, thrown or logged.
var exceptionLine = regexp.MustCompile(`^(Caused by: )?([a-z]\w*\.)+[A-Z]\w*(Exception|Error)\b`)

// quoteOnce takes out of findings what a graver one quotes already. An error in a
// log that was quoted as the cause of something needs no finding of its own.
func quoteOnce(sorted []model.Finding) []model.Finding {
	quoted := map[string]bool{}
	out := sorted[:0]
	for _, f := range sorted {
		if f.Rule == ruleLogged && len(f.Evidence) > 0 && quoted[f.Evidence[0].Text] {
			continue
		}
		f.Evidence = slices.DeleteFunc(f.Evidence, func(e model.Evidence) bool { return e.Source != "exit" && quoted[e.Text] })
		for _, e := range f.Evidence {
			quoted[e.Text] = true
		}
		out = append(out, f)
	}
	return out
}

// gaveUp reports whether output holds a line of a crash.
func gaveUp(output []string) bool { return slices.ContainsFunc(output, crashLine.MatchString) }

// panicked reports whether output holds a line of a runtime.
func panicked(output []string) bool { return slices.ContainsFunc(output, panicLine.MatchString) }

// quote picks the lines of output that say why a program ended: those of a
// crash, else those of exceptions, else the last ones.
func quote(source string, output []string) []model.Evidence {
	picked := pick(output, crashLine)
	if len(picked) == 0 {
		picked = pick(output, exceptionLine)
	}
	if len(picked) == 0 {
		picked = last(output)
	}
	evidence := make([]model.Evidence, len(picked))
	for i, line := range picked {
		evidence[i] = model.Evidence{Source: source, Text: clip(line)}
	}
	return evidence
}

func pick(output []string, re *regexp.Regexp) []string {
	var picked []string
	for _, line := range output {
		if len(picked) < maxQuotes && re.MatchString(line) {
			picked = append(picked, line)
		}
	}
	return picked
}

// last returns the last lines that are not blank.
func last(output []string) []string {
	var lines []string
	for _, line := range output {
		if strings.TrimSpace(line) != "" {
			lines = append(lines, line)
		}
	}
	return lines[max(0, len(lines)-maxQuotes):]
}

// clip shortens line to maxQuote bytes at a rune's start.
func clip(line string) string {
	line = strings.TrimRight(line, "\r\n\t ")
	if len(line) <= maxQuote {
		return line
	}
	end := maxQuote
	for end > 0 && !utf8.RuneStart(line[end]) {
		end--
	}
	return line[:end] + "…"
}

// lines splits the output of a command.
func lines(output string) []string { return strings.Split(output, "\n") }
