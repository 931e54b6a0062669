//go:build linux

package demo

import (
	"context"
	"fmt"
)

// A Summary tells how production fared since the scene was set.
type Summary struct {
	Acked      int     // writes acknowledged to production's clients
	Reads      int     // reads they verified
	Errors     int     // requests that failed
	FirstError string  // the first of them
	Losses     int     // connections lost by the clients
	SlowestMS  float64 // slowest write since the last Summary

	Election     string // leader and term now
	Elections    bool   // whether they are others than before
	MembersMoved bool   // whether the cluster's member list is another
	Missing      string // acknowledged writes that are not stored; empty if none

	// Foreign is how many changes of the store its clients did not make.
	Foreign int64
}

// Production compares production with what it was when the scene was set. The
// error tells that it could not be asked, which is no good sign either.
func (s *Scene) Production(ctx context.Context) (Summary, error) {
	now, err := s.look(ctx)
	if err != nil {
		return Summary{}, err
	}
	before := s.before.stats
	sum := Summary{
		Acked:        now.stats.Acked - before.Acked,
		Reads:        now.stats.Reads - before.Reads,
		Errors:       now.stats.Errors - before.Errors,
		Losses:       now.stats.Losses - before.Losses,
		SlowestMS:    now.stats.RecentMaxLatencyMS,
		Election:     now.election,
		Elections:    now.election != s.before.election,
		Foreign:      now.foreign,
		MembersMoved: now.members != s.before.members,
	}
	if sum.Errors > 0 {
		sum.FirstError = now.stats.FirstError
	}
	record := s.load.Record + ".cut"
	if _, err := s.load.Cut(record); err != nil {
		return Summary{}, err
	}
	if err := s.Cluster.VerifyOf(ctx, record, s.Survivors...); err != nil {
		sum.Missing = err.Error()
	}
	return sum, nil
}

// Untouched reports whether production went on as if nothing had happened.
func (s Summary) Untouched() bool {
	return s.Acked > 0 && s.Errors == 0 && s.Losses == 0 && !s.Elections && !s.MembersMoved &&
		s.Missing == "" && s.Foreign == 0
}

// String is one line for people.
func (s Summary) String() string {
	text := fmt.Sprintf("%d writes acknowledged, %d errors, %d connections lost, slowest write %.1f ms", s.Acked, s.Errors, s.Losses, s.SlowestMS)
	if s.Elections {
		text += ", ELECTION: now " + s.Election
	}
	if s.MembersMoved {
		text += ", MEMBERS CHANGED"
	}
	if s.Missing != "" {
		text += ", WRITES MISSING: " + s.Missing
	}
	if s.Foreign > 0 {
		text += fmt.Sprintf(", %d FOREIGN WRITES", s.Foreign)
	}
	if s.FirstError != "" {
		text += ", first error " + s.FirstError
	}
	return text
}
