package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A setting is a value that pilot.yaml has under the name of its flag, and that
// the environment and the flag may override.
type setting struct {
	flag string
	// set parses a value and puts it into c.
	set func(c *Config, value string) error
}

// env is the name of the setting's variable: PILOT_MAX_PAUSE for max-pause.
func (s setting) env() string {
	return "PILOT_" + strings.ToUpper(strings.ReplaceAll(s.flag, "-", "_"))
}

var settings = []setting{
	// Which there are is not known here.
	{"preset", func(c *Config, value string) error { c.Preset = value; return nil }},
	{"max-pause", durationOf(lowPause, func(c *Config) *time.Duration { return &c.MaxPause })},
	{"timeout", durationOf(lowTimeout, func(c *Config) *time.Duration { return &c.Timeout })},
	{"settle", durationOf(0, func(c *Config) *time.Duration { return &c.Settle })},
	{"patience", durationOf(0, func(c *Config) *time.Duration { return &c.Patience })},
	{"trace", oneOf([]string{"off", "effects", "full"}, func(c *Config) *string { return &c.Trace })},
	{"max-memory", sizeOf(func(c *Config) *int64 { return &c.MaxMemory })},
	{"max-disk", sizeOf(func(c *Config) *int64 { return &c.MaxDisk })},
	{"max-memory-pressure", percentOf(func(c *Config) *float64 { return &c.MemoryPressure })},
	{"max-io-pressure", percentOf(func(c *Config) *float64 { return &c.IOPressure })},
}

func durationOf(low time.Duration, of func(*Config) *time.Duration) func(*Config, string) error {
	return func(c *Config, value string) error {
		d, err := duration(value, low)
		if err == nil {
			*of(c) = d
		}
		return err
	}
}

func oneOf(words []string, of func(*Config) *string) func(*Config, string) error {
	return func(c *Config, value string) error {
		if !slices.Contains(words, value) {
			return fmt.Errorf("%q is none of %s", value, strings.Join(words, ", "))
		}
		*of(c) = value
		return nil
	}
}

func sizeOf(of func(*Config) *int64) func(*Config, string) error {
	return func(c *Config, value string) error {
		n, err := size(value)
		if err == nil {
			*of(c) = n
		}
		return err
	}
}

func percentOf(of func(*Config) *float64) func(*Config, string) error {
	return func(c *Config, value string) error {
		share, err := percent(value)
		if err == nil {
			*of(c) = share
		}
		return err
	}
}

// Environ overrides c by PILOT_MAX_PAUSE and the other variables of settings. An
// empty variable counts as unset.
func (c *Config) Environ(getenv func(string) string) error {
	var errs []error
	for _, s := range settings {
		value := getenv(s.env())
		if value == "" {
			continue
		}
		if err := s.set(c, value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.env(), err))
		}
	}
	return errors.Join(errs...)
}

// Set overrides the setting called name, such as "max-pause".
func (c *Config) Set(name, value string) error {
	for _, s := range settings {
		if s.flag == name {
			return s.set(c, value)
		}
	}
	return fmt.Errorf("unknown setting %q", name)
}
