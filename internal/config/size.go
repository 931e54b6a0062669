package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// lowSize is the least memory or disk that a world can do anything with.
const lowSize = 1 << 20

// size parses a number of bytes such as 512M or 1.5GiB. Units are powers of
// 1024, however they are written.
func size(s string) (int64, error) {
	number := strings.TrimRight(s, "BbIiKkMmGgTt")
	shift, known := map[string]int{"": 0, "B": 0, "K": 10, "M": 20, "G": 30, "T": 40}[unit(s[len(number):])]
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !known || math.IsNaN(n) || math.IsInf(n, 0) {
		return 0, fmt.Errorf("%q is not a size such as 512M or 4G", s)
	}
	bytes := n * float64(int64(1)<<shift)
	switch {
	case bytes < lowSize:
		return 0, fmt.Errorf("%s is less than 1M", s)
	case bytes >= 1<<62:
		return 0, fmt.Errorf("%s is more than any host has", s)
	}
	return int64(bytes), nil
}

// unit is the first letter of K, KB or KiB.
func unit(s string) string {
	s = strings.ToUpper(s)
	if len(s) > 1 {
		if rest := s[1:]; rest != "B" && rest != "IB" || s[0] == 'B' {
			return "?"
		}
		return s[:1]
	}
	return s
}

// percent parses a share such as 10% or 2.5.
func percent(s string) (float64, error) {
	n, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	if err != nil || !(n > 0 && n <= 100) {
		return 0, fmt.Errorf("%q is not a share of more than 0%% and at most 100%%", s)
	}
	return n, nil
}
