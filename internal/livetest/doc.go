// Package livetest holds the tests of what one can do with a run while it goes
// on: with the real program, on a real terminal.
package livetest
