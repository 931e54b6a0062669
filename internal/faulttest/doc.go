//go:build linux

// Package faulttest makes pilot fail: by error, by delay and by SIGKILL, at
// every point of package fault and at random moments, while it pilots programs
// that check themselves, and real servers. Production must never notice, and
// a later agent must clear what was left. It has no code.
package faulttest
