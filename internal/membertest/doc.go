// Package membertest forks victims that are not plain processes of root: those
// of ordinary users, with fewer capabilities, and under seccomp filters. See
// package kindtest for kinds of kernel objects.
package membertest
