// Package loglines reads the log lines of servers whose formats it was never
// told: how grave a line is, and what it says apart from the numbers and names
// that change from one line to the next.
package loglines

import (
	"encoding/json"
	"regexp"
	"strings"
)

// A Level is how grave a line is.
type Level int

// Levels. None is of lines that do not tell.
const (
	None Level = iota
	Debug
	Info
	Warning
	Error
	Fatal
)

// String is the level's name in reports.
func (l Level) String() string {
	return [...]string{"none", "debug", "info", "warning", "error", "fatal"}[l]
}

// An Entry is one message of a log: a line, and those that continue it.
type Entry struct {
	Line  int // of all lines, the first of it
	Level Level
	// Template is the message with # for what varies: numbers, addresses, times.
	// Messages of one statement of a program have the same.
	Template string
	Text     string   // the first line
	More     []string // the lines that continue it, such as a call stack
}

// maxMore bounds the continuing lines that are kept.
const maxMore = 20

// Parse splits what a log holds into entries.
func Parse(lines []string) (out []Entry) {
	for i, line := range lines {
		if strings.TrimSpace(line) == "" {
			continue
		}
		if n := len(out); n > 0 && continues(line, out[n-1]) {
			if len(out[n-1].More) < maxMore {
				out[n-1].More = append(out[n-1].More, line)
			}
			continue
		}
		level, message := split(line)
		out = append(out, Entry{Line: i, Level: level, Template: Template(message), Text: line})
	}
	return out
}

// more matches lines that belong to the one before: stacks of a JVM, of Go and of
// Python, and whatever is indented.
var more = regexp.MustCompile(`^(\s|Caused by: |Suppressed: |\.\.\. \d+ more|goroutine \d+|created by |\S+\(.*\)$|exit status )`)

// exception matches an exception of a JVM, which has a line of its own below the
// message it was logged with.
var exception = regexp.MustCompile(`^([a-z]\w*\.)+[A-Z][\w$]*(Exception|Error)\b`)

func continues(line string, before Entry) bool {
	if exception.MatchString(line) {
		return before.Level >= Warning && len(before.More) == 0
	}
	return more.MatchString(line)
}

// A format is a way of writing lines. Its groups are "level" and "message".
type format struct {
	re     *regexp.Regexp
	levels map[string]Level // nil: words
}

var formats = []format{
	// A runtime that dies of a bug writes past the log.
	{regexp.MustCompile(`^(?P<level>panic|fatal error|SIG[A-Z]+|Exception in thread|Traceback \(most recent call last\)|terminate called after|\*\*\* FATAL .*|\*\*\* .* detected|free\(\)|malloc\(\)|corrupted|double free|Segmentation fault|# A fatal error has been detected)(?P<message>.*)`), map[string]Level{}},
	// glog and klog: "E1123 10:20:30.123456    7 file.go:12] message".
	{regexp.MustCompile(`^(?P<level>[IWEF])\d{4} \d\d:\d\d:\d\d\.\d+\s+\d+ [^\]]+\] (?P<message>.*)`),
		map[string]Level{"I": Info, "W": Warning, "E": Error, "F": Fatal}},
	// Redis: "7:M 23 Nov 2026 10:20:30.123 # message".
	{regexp.MustCompile(`^\d+:[A-Z] \d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d+ (?P<level>[.*#-]) (?P<message>.*)`),
		map[string]Level{".": Debug, "-": Debug, "*": Info, "#": Warning}},
	// NATS: "[7] 2026/11/23 10:20:30.123456 [ERR] message".
	{regexp.MustCompile(`^\[\d+\] \d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d+ \[(?P<level>[A-Z]{3})\] (?P<message>.*)`), nil},
	// capnslog: "2026-11-23 10:20:30.123456 W | package: message".
	{regexp.MustCompile(`^\S+ \S+ (?P<level>[TDNIWEC]) \| (?P<message>.*)`),
		map[string]Level{"T": Debug, "D": Debug, "N": Info, "I": Info, "W": Warning, "E": Error, "C": Fatal}},
	// logfmt: `level=warn msg="message"`.
	{regexp.MustCompile(`\b(?:level|lvl)=(?P<level>\w+)\b.*?\bmsg=(?P<message>"(?:[^"\\]|\\.)*"|\S+)`), nil},
	// log4j, logback, java.util.logging, PostgreSQL, nginx: a word among the
	// first, behind times, threads and classes.
	{regexp.MustCompile(`^(?:.{0,120}?[\s\[(])??\[?(?P<level>TRACE|DEBUG|FINE|INFO|NOTICE|LOG|WARN|WARNING|ERROR|SEVERE|CRITICAL|CRIT|FATAL|PANIC|ALERT|EMERG|warn|error|crit|alert|emerg)\b[\]):]*\s+(?P<message>.*)`), nil},
}

var words = map[string]Level{
	"trace": Debug, "trc": Debug, "debug": Debug, "dbg": Debug, "fine": Debug, "verbose": Debug,
	"info": Info, "inf": Info, "notice": Info, "log": Info, "information": Info,
	"warn": Warning, "wrn": Warning, "warning": Warning,
	"error": Error, "err": Error, "eror": Error, "severe": Error,
	"critical": Fatal, "crit": Fatal, "fatal": Fatal, "ftl": Fatal, "panic": Fatal, "dpanic": Fatal, "alert": Fatal, "emerg": Fatal,
}

// split returns the level of a line and what comes behind it.
func split(line string) (Level, string) {
	if strings.HasPrefix(line, "{") {
		if level, message, ok := object(line); ok {
			return level, message
		}
	}
	for _, f := range formats {
		m := f.re.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		word, message := m[f.re.SubexpIndex("level")], m[f.re.SubexpIndex("message")]
		switch {
		case f.levels == nil:
			if level, ok := words[strings.ToLower(word)]; ok {
				return level, inner(message)
			}
		case len(f.levels) == 0:
			return Fatal, word + message
		default:
			return f.levels[word], message
		}
	}
	return None, line
}

// inner strips what stands between the level and the message: the thread, the
// class or the place in the source, and a dash.
var lead = regexp.MustCompile(`^(\[[^\]]*\]\s*:?\s*|\S+:\d+\s+|[\w$.]+[:@]\s+|-\s+|\S+@\d+\]?\s+-\s+)+`)

func inner(message string) string {
	message = strings.Trim(message, `"`)
	if rest := lead.ReplaceAllString(message, ""); rest != "" {
		return rest
	}
	return message
}

// object reads a line of JSON, as zap, slog, logrus, pino and bunyan write it.
func object(line string) (Level, string, bool) {
	var fields map[string]any
	if json.Unmarshal([]byte(line), &fields) != nil {
		return None, "", false
	}
	text := func(names ...string) string {
		for _, n := range names {
			if s, ok := fields[n].(string); ok {
				return s
			}
		}
		return ""
	}
	message := text("msg", "message", "Message", "@m")
	if cause := text("error", "err", "exception"); cause != "" {
		message += ": " + cause
	}
	for _, n := range []string{"level", "lvl", "severity", "Level", "@l"} {
		switch v := fields[n].(type) {
		case string:
			return words[strings.ToLower(v)], message, true
		case float64: // pino and bunyan: 30 is info
			return min(Fatal, max(Debug, Level(v/10)-1)), message, true
		}
	}
	return None, message, message != ""
}
