package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/report"
)

// sendTimeout bounds a request to a collector.
const sendTimeout = 30 * time.Second

// batch is how many spans a request has: about a megabyte. Collectors refuse
// large ones.
const batch = 2000

// send gives a trace to a collector by OTLP over HTTP.
func (a *app) send(ctx context.Context, trace *report.OTLP, to string) error {
	at, err := url.Parse(to)
	if err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" {
		return &model.UsageError{Err: fmt.Errorf("--send: %q is no address of a collector", to), Hint: "give one such as http://127.0.0.1:4318"}
	}
	if strings.Trim(at.Path, "/") == "" {
		at.Path = "/v1/traces" // the default of the OTLP specification
	}
	for i := 0; i < max(1, trace.Len()); i += batch {
		var body bytes.Buffer
		if err := trace.Write(&body, i, min(i+batch, trace.Len())); err != nil {
			return err
		}
		if err := post(ctx, at.String(), &body); err != nil {
			return fmt.Errorf("send tree: %w", err)
		}
	}
	fmt.Fprintf(a.Stderr, "pilot: sent %d spans to %s\n", trace.Len()+1, at)
	return nil
}

// post sends one request. What is not accepted as a whole is an error.
func post(ctx context.Context, to string, body io.Reader) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s: %.200q", to, resp.Status, text)
	}
	var answer struct {
		Partial struct {
			Rejected json.Number `json:"rejectedSpans"`
			Message  string      `json:"errorMessage"`
		} `json:"partialSuccess"`
	}
	if len(text) > 0 && json.Unmarshal(text, &answer) == nil && answer.Partial.Rejected != "" && answer.Partial.Rejected != "0" {
		return fmt.Errorf("%s rejected %s spans: %s", to, answer.Partial.Rejected, answer.Partial.Message)
	}
	return nil
}
