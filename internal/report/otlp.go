package report

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/causal"
	"github.com/pilotexec/pilot/internal/model"
)

// The messages of opentelemetry/proto/trace/v1/trace.proto and of
// collector/trace/v1, as far as they are used, in the JSON that OTLP wants: names
// in lowerCamelCase, ids in hexadecimal digits, enums as numbers, and 64-bit
// numbers as text. See "JSON Protobuf Encoding" of the OTLP specification.
type (
	otlpRequest struct {
		ResourceSpans []otlpResourceSpans `json:"resourceSpans"`
	}
	otlpResourceSpans struct {
		Resource   otlpResource     `json:"resource"`
		ScopeSpans []otlpScopeSpans `json:"scopeSpans"`
	}
	otlpResource struct {
		Attributes []otlpAttribute `json:"attributes"`
	}
	otlpScopeSpans struct {
		Scope otlpScope  `json:"scope"`
		Spans []otlpSpan `json:"spans"`
	}
	otlpScope struct {
		Name    string `json:"name"`
		Version string `json:"version,omitempty"`
	}
	otlpSpan struct {
		TraceID    string          `json:"traceId"`
		SpanID     string          `json:"spanId"`
		Parent     string          `json:"parentSpanId,omitempty"`
		Name       string          `json:"name"`
		Kind       int             `json:"kind"`
		Start      string          `json:"startTimeUnixNano"`
		End        string          `json:"endTimeUnixNano"`
		Attributes []otlpAttribute `json:"attributes,omitempty"`
		Status     *otlpStatus     `json:"status,omitempty"`
	}
	otlpStatus struct {
		Message string `json:"message,omitempty"`
		Code    int    `json:"code"`
	}
	otlpAttribute struct {
		Key   string    `json:"key"`
		Value otlpValue `json:"value"`
	}
	otlpValue struct {
		Text   *string `json:"stringValue,omitempty"`
		Number *string `json:"intValue,omitempty"`
		Flag   *bool   `json:"boolValue,omitempty"`
	}
)

// Numbers of trace.proto.
const (
	spanInternal = 1
	spanServer   = 2
	spanClient   = 3
	statusError  = 2
)

func otlpText(key, v string) otlpAttribute { return otlpAttribute{key, otlpValue{Text: &v}} }

func otlpNumber(key string, v int64) otlpAttribute {
	s := strconv.FormatInt(v, 10)
	return otlpAttribute{key, otlpValue{Number: &s}}
}

// An OTLP makes the trace of a tree. Its times count from the begin of the run:
// when exactly a world was released is not recorded.
type OTLP struct {
	t     *causal.Tree
	run   *model.Report
	trace string
	seed  [sha256.Size]byte
	ends  []time.Duration // of spans, by node
}

// NewOTLP prepares the trace of t.
func NewOTLP(t *causal.Tree, run *model.Report) *OTLP {
	o := &OTLP{t: t, run: run, seed: sha256.Sum256([]byte(run.ID + " " + t.World + " " + run.Started.UTC().String()))}
	o.trace = hex.EncodeToString(o.seed[:16])
	o.ends = make([]time.Duration, len(t.Nodes))
	at := make(map[int]int, len(t.Nodes))
	for i := range t.Nodes {
		at[t.Nodes[i].ID] = i
		o.ends[i] = t.Nodes[i].Done()
	}
	// A request takes as long as the work on it; what others do with its messages
	// is theirs.
	for i := len(t.Nodes) - 1; i >= 0; i-- {
		n := &t.Nodes[i]
		if up, ok := at[n.Parent]; ok && n.Cause != causal.Message && n.Cause != causal.Signal {
			o.ends[up] = max(o.ends[up], o.ends[i])
		}
	}
	return o
}

// TreeOTLP writes t as one trace in OTLP's JSON.
func TreeOTLP(w io.Writer, t *causal.Tree, run *model.Report) error {
	return NewOTLP(t, run).Write(w, 0, len(t.Nodes))
}

// Write writes a request with the spans of the nodes from i to before j. The span
// of the whole run comes with the first node.
func (o *OTLP) Write(w io.Writer, i, j int) error {
	type process struct {
		member, name string
		pid          int
	}
	var req otlpRequest
	index := map[process]int{}
	add := func(p process, s otlpSpan) {
		n, ok := index[p]
		if !ok {
			n = len(req.ResourceSpans)
			index[p] = n
			req.ResourceSpans = append(req.ResourceSpans, o.resource(p.member, p.name, p.pid))
		}
		list := &req.ResourceSpans[n].ScopeSpans[0].Spans
		*list = append(*list, s)
	}
	if i == 0 {
		add(process{name: "pilot"}, o.root())
	}
	for k := i; k < j; k++ {
		n := &o.t.Nodes[k]
		add(process{n.Member, n.Process, n.PID}, o.span(k))
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(req)
}

// Len is how many nodes there are to write.
func (o *OTLP) Len() int { return len(o.t.Nodes) }

// resource is a process, as its service: the member, or the program.
func (o *OTLP) resource(member, name string, pid int) otlpResourceSpans {
	service := member
	if service == "" {
		service = name
	}
	attrs := []otlpAttribute{otlpText("service.name", service), otlpText("service.instance.id", fmt.Sprint(pid)), otlpText("host.name", o.run.Host),
		otlpText("pilot.run", o.run.ID), otlpText("pilot.world", o.t.World)}
	if pid != 0 {
		attrs = append(attrs, otlpNumber("process.pid", int64(pid)), otlpText("process.executable.name", name))
	}
	return otlpResourceSpans{Resource: otlpResource{attrs},
		ScopeSpans: []otlpScopeSpans{{Scope: otlpScope{Name: "github.com/pilotexec/pilot", Version: o.run.Tool}, Spans: []otlpSpan{}}}}
}

// id is that of a node's span, 0 for the run's. No id is all zeros.
func (o *OTLP) id(node int) string {
	var b [8]byte
	copy(b[:], o.seed[16:24])
	b[0] |= 1 << 7
	for k := range 4 {
		b[4+k] ^= byte(node >> (8 * k))
	}
	return hex.EncodeToString(b[:])
}

func (o *OTLP) at(d time.Duration) string {
	return strconv.FormatInt(max(0, o.run.Started.Add(d).UnixNano()), 10) // OTLP has no time before 1970
}

// root is the span of the run.
func (o *OTLP) root() otlpSpan {
	end := time.Duration(0)
	for _, e := range o.ends {
		end = max(end, e)
	}
	s := otlpSpan{TraceID: o.trace, SpanID: o.id(0), Name: "pilot run " + o.run.ID, Kind: spanInternal, Start: o.at(0), End: o.at(end),
		Attributes: []otlpAttribute{otlpText("pilot.verdict", string(o.run.Verdict.Status)), otlpText("pilot.reason", o.run.Verdict.Reason)}}
	if o.run.Verdict.Status == model.Fail {
		s.Status = &otlpStatus{o.run.Verdict.Reason, statusError}
	}
	return s
}

func (o *OTLP) span(k int) otlpSpan {
	n := &o.t.Nodes[k]
	s := otlpSpan{TraceID: o.trace, SpanID: o.id(n.ID), Parent: o.id(n.Parent), Name: n.What, Kind: spanInternal,
		Start: o.at(n.At), End: o.at(o.ends[k]), Attributes: o.attributes(n)}
	switch {
	case n.Kind == model.EventReceive && n.Cause == causal.Message && len(n.Children) > 0:
		s.Kind = spanServer
		s.Start = o.at(n.Done()) // it waited for the request before
	case n.Kind == model.EventSend && len(n.Children) > 0:
		s.Kind = spanClient
	}
	if n.Failed {
		s.Status = &otlpStatus{n.Error, statusError}
	}
	return s
}

func (o *OTLP) attributes(n *causal.Node) []otlpAttribute {
	list := []otlpAttribute{otlpText("pilot.kind", n.Kind), otlpText("pilot.doer", n.Doer)}
	for _, a := range []struct{ key, v string }{{"pilot.cause", string(n.Cause)}, {"pilot.confidence", string(n.Confidence)}, {"pilot.object", n.Object},
		{"pilot.to", n.To}, {"pilot.connection", n.Conn}, {"pilot.task", n.Task}, {"pilot.maker", n.Maker}, {"error.type", n.Error}} {
		if a.v != "" {
			list = append(list, otlpText(a.key, a.v))
		}
	}
	if n.TID != 0 {
		list = append(list, otlpNumber("thread.id", int64(n.TID)))
	}
	if n.Bytes != 0 {
		list = append(list, otlpNumber("pilot.bytes", n.Bytes))
	}
	if n.Background {
		yes := true
		list = append(list, otlpAttribute{"pilot.background", otlpValue{Flag: &yes}})
	}
	if len(n.Stack) > 0 {
		list = append(list, otlpText("code.stacktrace", strings.Join(n.Stack, "\n")))
	}
	return list
}
