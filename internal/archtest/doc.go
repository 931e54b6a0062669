// Package archtest holds the tests of the import graph: which package may
// import which, who may use unsafe and golang.org/x/sys, and what builds on any
// system. The table is in layers_test.go; a new package needs a line there.
package archtest
