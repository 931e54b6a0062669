// Package escapetest runs a program that tries to get out of worlds, as a
// phantom and as the action, and looks at production for what came through.
package escapetest
