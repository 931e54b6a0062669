//go:build linux

// Package e2e holds the tests that fork real clusters under load. It has no code.
package e2e
