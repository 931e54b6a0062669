package mask

import (
	"regexp"
	"strings"
)

var word = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// follows is what stands behind the name in NAME=VALUE, "NAME": "VALUE" and
// --NAME VALUE. The value goes to its quote, or to a space, & or ;.
var follows = regexp.MustCompile(
	`^(\\*["']?\s*(?:=>|:=|=|:)\s*|\s+)` + // 1: what is between
		`(\\*"(?:[^"\\]|\\[^"])*\\*"?|'[^']*'?|[^\s"'&;]+)`) // 2: the value

// pairs hides the values that stand beside names of secrets.
func pairs(s string) string {
	var b strings.Builder
	done := 0 // what of s is in b
	for i := 0; i < len(s); {
		if !ofName(s[i]) {
			i++
			continue
		}
		end := i + 1
		for end < len(s) && ofName(s[end]) {
			end++
		}
		name, path := s[i:end], i > 0 && s[i-1] == '/'
		i = end
		if !hinted(name) || !secret(name) {
			continue
		}
		m := follows.FindStringSubmatchIndex(s[end:])
		if m == nil || !tells(name, path, s[end:end+m[3]], s[end+m[4]:end+m[5]]) {
			continue
		}
		b.WriteString(s[done : end+m[4]])
		b.WriteString(hidden(s[end+m[4] : end+m[5]]))
		done = end + m[5]
		i = done
	}
	if done == 0 {
		return s
	}
	b.WriteString(s[done:])
	return b.String()
}

func ofName(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '.'
}

// hinted spares the most of names the closer look.
func hinted(name string) bool {
	name = strings.ToLower(name)
	for _, root := range []string{"pass", "pwd", "secret", "token", "credential", "key"} {
		if strings.Contains(name, root) {
			return true
		}
	}
	return false
}

// tells reports whether what follows name is its value, and not the next word
// of a sentence, another flag, or what is said of a path that ends so.
func tells(name string, path bool, between, value string) bool {
	if between = strings.TrimSpace(between); between != "" {
		return !path || strings.Contains(between, "=")
	}
	return strings.HasPrefix(name, "-") && !strings.HasPrefix(value, "-")
}

// hidden is the mark within the quotes of value.
func hidden(value string) string {
	for _, quote := range []string{`\\\"`, `\"`, `"`, `'`} {
		if rest, ok := strings.CutPrefix(value, quote); ok {
			if rest == quote {
				return value // nothing is no secret
			}
			if strings.HasSuffix(rest, quote) {
				return quote + Mark + quote
			}
			return quote + Mark
		}
	}
	return Mark
}

// Words of names. A name is taken apart at -, _, . and where a capital letter
// follows a small one.
var (
	// telling are ends of words that tell of a secret wherever they stand.
	telling = regexp.MustCompile(`(?:password|passwd|passphrase|passwort|pwd|secret|secrets|token|credential|credentials|apikey|accesskey|privatekey|secretkey|signingkey|encryptionkey|masterkey)$`)
	// before are words that make a key of what follows them a secret one.
	before = regexp.MustCompile(`^(?:api|access|private|secret|encryption|encrypt|signing|sign|master|auth|ssh|session|service|account|storage|shared|host|license|app|admin|client|deploy|webhook|hmac|aes|rsa|des|jwt)$`)
	// harmless are last words of names that have a place or a measure, not a secret.
	harmless = regexp.MustCompile(`^(?:file|files|path|dir|directory|type|size|length|len|count|ttl|expiry|expires|expiration|timeout|policy|algorithm|alg|prefix|url|uri|endpoint|version|rotation|name|mode|usage|enabled|required)$`)
	parts    = regexp.MustCompile(`[A-Z]+[a-z0-9]*|[a-z0-9]+`)
)

// secret reports whether name tells of one.
func secret(name string) bool {
	if name == "PWD" || name == "OLDPWD" { // directories, of every shell
		return false
	}
	words := parts.FindAllString(name, -1)
	if len(words) == 0 || harmless.MatchString(strings.ToLower(words[len(words)-1])) {
		return false
	}
	shouted := strings.ToUpper(name) == name // as variables of the environment are
	for i, w := range words {
		w = strings.ToLower(w)
		switch {
		case telling.MatchString(w):
			return true
		case w == "key" || w == "keys":
			if shouted || i > 0 && before.MatchString(strings.ToLower(words[i-1])) {
				return true
			}
		}
	}
	return false
}
