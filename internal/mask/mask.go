// Package mask hides what looks like a secret in what is shown: passwords and
// keys in command lines, in what programs printed and logged, and in all that
// quotes these.
//
// It knows secrets by where they stand (after a name that tells of one, in a
// URL, in a header) and some by their form. It hides too much rather than too
// little, and cannot know a password that stands for itself, such as the one of
// `mysql -pPASSWORD` or of `login USER PASSWORD`.
package mask

import (
	"path"
	"regexp"
	"strings"
)

// Mark stands for what was hidden.
const Mark = "***"

// Text hides what looks like a secret in s.
func Text(s string) string {
	if len(s) < 4 {
		return s
	}
	s = blocks(s)
	if strings.Contains(s, "://") && strings.Contains(s, "@") {
		s = urlUser.ReplaceAllString(s, "${1}"+Mark+"@")
	}
	if strings.Contains(s, "…") {
		s = urlCut.ReplaceAllString(s, "${1}"+Mark+"…")
	}
	lower := strings.ToLower(s)
	if strings.Contains(lower, "authorization") || strings.Contains(lower, "cookie") || strings.Contains(lower, "x-") {
		s = header.ReplaceAllStringFunc(s, hideHeader)
	}
	if strings.Contains(lower, "bearer") {
		s = bearer.ReplaceAllString(s, "${1}"+Mark)
	}
	if strings.Contains(s, "curl") {
		s = curlUser.ReplaceAllString(s, "${1}"+Mark)
	}
	s = pairs(s)
	for _, f := range forms {
		if strings.Contains(s, f.has) {
			s = f.look.ReplaceAllString(s, Mark)
		}
	}
	return s
}

// Args hides what looks like a secret in the arguments of a command: in each of
// them, and those that follow a flag whose name tells of one.
func Args(args []string) []string {
	out := make([]string, len(args))
	after, curl := false, false
	for i, a := range args {
		name, _, joined := strings.Cut(a, "=")
		curl = curl || path.Base(a) == "curl"
		flag := strings.HasPrefix(a, "-")
		switch {
		case after && !flag:
			out[i] = Mark
		case joined && word.MatchString(name) && secret(name):
			// A value with spaces is whole here, as it is not within a text.
			out[i] = name + "=" + Mark
		case curl && i > 0 && curlFlag.MatchString(args[i-1]):
			user, _, known := strings.Cut(a, ":")
			out[i] = user
			if known {
				out[i] += ":" + Mark
			}
		default:
			out[i] = Text(a)
		}
		after = flag && !joined && word.MatchString(a) && secret(a)
	}
	return out
}

// Lines hides what looks like a secret in lines that follow each other, where a
// key may go over several.
func Lines(lines []string) []string {
	out := make([]string, len(lines))
	inside := false
	for i, l := range lines {
		begins, ends := keyBegin.MatchString(l), keyEnd.MatchString(l)
		switch {
		case inside && !begins:
			out[i] = Mark
			inside = !ends
			continue
		case ends && !begins: // what came before it was cut off
			hideKey(out[:i])
		}
		inside = begins && !keyEnd.MatchString(l[keyBegin.FindStringIndex(l)[1]:])
		out[i] = Text(l)
	}
	return out
}

// hideKey hides the lines at the end that may be of a key.
func hideKey(lines []string) {
	for i := len(lines) - 1; i >= 0 && keyLine.MatchString(lines[i]); i-- {
		lines[i] = Mark
	}
}

const (
	keyName = `[A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----`
	base64  = `[A-Za-z0-9+/=]`
)

var (
	keyBegin = regexp.MustCompile(`-----BEGIN ` + keyName)
	keyEnd   = regexp.MustCompile(`-----END ` + keyName)
	keyBlock = regexp.MustCompile(`(?s)(-----BEGIN ` + keyName + `).*?(-----END ` + keyName + `|\z)`)
	keyLine  = regexp.MustCompile(`^\s*` + base64 + `{16,}\s*$`)
	// keyRest is a block whose beginning is not there, with line ends of JSON, too.
	keyRest = regexp.MustCompile(`(?:` + base64 + `{16,}(?:\s|\\n|\\r)+)+(-----END ` + keyName + `)`)
)

func blocks(s string) string {
	if !strings.Contains(s, "PRIVATE KEY") {
		return s
	}
	s = keyBlock.ReplaceAllString(s, "${1}"+Mark+"${2}")
	return keyRest.ReplaceAllString(s, Mark+"${1}")
}

// urlUser is what stands before the last @ of an authority: USER:PASSWORD, or a
// password without a user.
var urlUser = regexp.MustCompile(`(\b[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#:@'"]*:)[^\s/?#'"]*@`)

// urlCut is a quote that was cut within what may be a password: it is no port.
var urlCut = regexp.MustCompile(`(\b[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#:@'"]*:)[^\s/?#'"…]*[^\s/?#'"…\d][^\s/?#'"…]*…`)

// curl takes USER:PASSWORD. Of other programs -u may be anything.
var (
	curlFlag = regexp.MustCompile(`^(?:-u|-U|--user|--proxy-user)$`)
	curlUser = regexp.MustCompile(`(\bcurl\b[^\n;|]*?\s(?:-u|-U|--user|--proxy-user)[\s=]?['"]?[^\s:'"]*:)[^\s'"]+`)
)

// header is one that carries credentials, as curl is given it and as it is logged.
var header = regexp.MustCompile(`(?i)\b((?:proxy-)?authorization|(?:set-)?cookie|x-[a-z-]*(?:token|key|secret)|x-auth[a-z-]*)(\\?["']?\s*[:=]\s*\[?\\?["']?)([^"'\r\n\\]+)`)

// schemes are followed by one word. Others, such as Digest, may have more.
var schemes = regexp.MustCompile(`(?i)^((?:basic|bearer|token|negotiate|apikey)\s+)?[^\s,;]+`)

// hideHeader hides a header's value up to the quote or the line's end. Of an
// Authorization with a known scheme it leaves what follows the one word.
func hideHeader(s string) string {
	m := header.FindStringSubmatch(s)
	rest := m[3]
	if strings.HasSuffix(strings.ToLower(m[1]), "authorization") {
		if got := schemes.FindStringSubmatch(rest); got != nil && got[1] != "" {
			return m[1] + m[2] + got[1] + Mark + rest[len(got[0]):]
		}
	}
	return m[1] + m[2] + Mark
}

var bearer = regexp.MustCompile(`(?i)(\bbearer\s+)[A-Za-z0-9._~+/-]{12,}=*`)

// forms are secrets that are known by their look, and what each has in it.
var forms = []struct {
	has  string
	look *regexp.Regexp
}{
	{"eyJ", regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*`)}, // JSON Web Token, RFC 7519
	{"gh", regexp.MustCompile(`\b(?:gh[pousr]_|github_pat_)\w{10,}`)},
	{"glpat-", regexp.MustCompile(`\bglpat-[\w-]{10,}`)},
	{"xox", regexp.MustCompile(`\bxox[abeprs]-[\w-]{10,}`)},
	{"AKIA", regexp.MustCompile(`\bAKIA[A-Z0-9]{16}\b`)},
	{"ASIA", regexp.MustCompile(`\bASIA[A-Z0-9]{16}\b`)},
	{"sk", regexp.MustCompile(`\bsk[-_](?:(?:live|test|ant|proj)[-_])?[A-Za-z0-9][\w-]{19,}`)},
}
