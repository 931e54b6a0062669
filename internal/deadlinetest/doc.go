// Package deadlinetest measures, from inside of processes, how long they are
// stopped while a snapshot is taken of them: when all is well, when they do what
// makes stopping hard, and when the agent is killed or hangs meanwhile.
package deadlinetest
