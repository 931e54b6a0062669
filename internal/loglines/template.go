package loglines

import (
	"regexp"
	"strings"
)

// maxTemplate bounds a template, in bytes.
const maxTemplate = 300

// What varies between two messages of one statement, most particular first.
var varying = []*regexp.Regexp{
	regexp.MustCompile(`\b\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d([.,]\d+)?(Z|[+-]\d\d:?\d\d)?`),          // times
	regexp.MustCompile(`\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b`), // UUIDs
	regexp.MustCompile(`\[[0-9a-fA-F:]*:[0-9a-fA-F:.]*\](:\d+)?`),                                         // IPv6
	regexp.MustCompile(`\b\d{1,3}(\.\d{1,3}){3}(:\d+)?\b`),                                                // IPv4
	regexp.MustCompile(`\b0x[0-9a-fA-F]+\b`),
	regexp.MustCompile(`\b(?:[0-9a-fA-F]*\d[0-9a-fA-F]*[a-fA-F][0-9a-fA-F]*|[0-9a-fA-F]*[a-fA-F][0-9a-fA-F]*\d[0-9a-fA-F]*)\b`), // identities
	regexp.MustCompile(`[-+]?\d+(\.\d+)?([eE][-+]?\d+)?`),
}

// identity is the shortest word that is taken for a number to the base 16.
const identity = 8

// Template replaces what varies in a message with #.
func Template(message string) string {
	for i, re := range varying {
		if i == 5 {
			message = re.ReplaceAllStringFunc(message, func(word string) string {
				if len(word) < identity {
					return word
				}
				return "#"
			})
			continue
		}
		message = re.ReplaceAllString(message, "#")
	}
	message = strings.Join(strings.Fields(message), " ")
	if len(message) > maxTemplate {
		message = strings.ToValidUTF8(message[:maxTemplate], "") + "…"
	}
	return message
}
