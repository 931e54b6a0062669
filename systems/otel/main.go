// Otel is the OpenTelemetry collector's own receiver of OTLP, for tests: it takes
// traces over HTTP, as strictly as a collector does, and tells on stdout what it
// got when its stdin is closed.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
)

// A summary is what was received.
type summary struct {
	Traces   int      `json:"traces"`
	Spans    int      `json:"spans"`
	Roots    int      `json:"roots"`    // spans without a parent
	Orphans  int      `json:"orphans"`  // spans whose parent did not come
	Failed   int      `json:"failed"`   // with the status error
	Services []string `json:"services"` // their names, sorted
	Requests int      `json:"requests"`
}

// A sink collects spans.
type sink struct {
	mu       sync.Mutex
	traces   map[pcommon.TraceID]bool
	parents  map[pcommon.SpanID]pcommon.SpanID
	services map[string]bool
	failed   int
	requests int
}

func (s *sink) take(_ context.Context, t ptrace.Traces) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	for _, r := range t.ResourceSpans().All() {
		if name, ok := r.Resource().Attributes().Get("service.name"); ok {
			s.services[name.Str()] = true
		}
		for _, scope := range r.ScopeSpans().All() {
			for _, span := range scope.Spans().All() {
				if span.TraceID().IsEmpty() || span.SpanID().IsEmpty() || span.EndTimestamp() < span.StartTimestamp() {
					return fmt.Errorf("span %q of trace %s is damaged", span.Name(), span.TraceID())
				}
				s.traces[span.TraceID()] = true
				s.parents[span.SpanID()] = span.ParentSpanID()
				if span.Status().Code() == ptrace.StatusCodeError {
					s.failed++
				}
			}
		}
	}
	return nil
}

func (s *sink) summary() summary {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := summary{Traces: len(s.traces), Spans: len(s.parents), Failed: s.failed, Requests: s.requests}
	for _, p := range s.parents {
		if p.IsEmpty() {
			sum.Roots++
		} else if _, ok := s.parents[p]; !ok {
			sum.Orphans++
		}
	}
	for name := range s.services {
		sum.Services = append(sum.Services, name)
	}
	slices.Sort(sum.Services)
	return sum
}

func run(ctx context.Context, addr string) error {
	s := &sink{traces: map[pcommon.TraceID]bool{}, parents: map[pcommon.SpanID]pcommon.SpanID{}, services: map[string]bool{}}
	next, err := consumer.NewTraces(s.take)
	if err != nil {
		return err
	}
	factory := otlpreceiver.NewFactory()
	cfg := factory.CreateDefaultConfig().(*otlpreceiver.Config)
	http := cfg.Protocols.HTTP.GetOrInsertDefault()
	http.ServerConfig.NetAddr.Endpoint = addr
	set := receiver.Settings{ID: component.NewID(factory.Type()), TelemetrySettings: componenttest.NewNopTelemetrySettings()}
	r, err := factory.CreateTraces(ctx, set, cfg, next)
	if err != nil {
		return err
	}
	if err := r.Start(ctx, componenttest.NewNopHost()); err != nil {
		return err
	}
	fmt.Println("listening")
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := r.Shutdown(ctx); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(s.summary())
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: otel ADDRESS")
		os.Exit(64)
	}
	if err := run(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "otel:", err)
		os.Exit(1)
	}
}
