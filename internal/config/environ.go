package config

import (
	"errors"
	"fmt"
	"time"
)

// A setting is a duration that the environment and a flag may override.
type setting struct {
	flag, env string
	low       time.Duration
	of        func(*Config) *time.Duration
}

var settings = []setting{
	{"max-pause", "PILOT_MAX_PAUSE", lowPause, func(c *Config) *time.Duration { return &c.MaxPause }},
	{"timeout", "PILOT_TIMEOUT", lowTimeout, func(c *Config) *time.Duration { return &c.Timeout }},
	{"settle", "PILOT_SETTLE", 0, func(c *Config) *time.Duration { return &c.Settle }},
}

// Environ overrides c by PILOT_MAX_PAUSE, PILOT_TIMEOUT and PILOT_SETTLE. An
// empty variable counts as unset.
func (c *Config) Environ(getenv func(string) string) error {
	var errs []error
	for _, s := range settings {
		value := getenv(s.env)
		if value == "" {
			continue
		}
		d, err := duration(value, s.low)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.env, err))
			continue
		}
		*s.of(c) = d
	}
	return errors.Join(errs...)
}

// Set overrides the setting called name, such as "max-pause".
func (c *Config) Set(name, value string) error {
	for _, s := range settings {
		if s.flag != name {
			continue
		}
		d, err := duration(value, s.low)
		if err != nil {
			return err
		}
		*s.of(c) = d
		return nil
	}
	return fmt.Errorf("unknown setting %q", name)
}
