package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"
)

// requestTimeout is how long a user waits before the page counts as broken.
const requestTimeout = time.Second

// prober sends requests at a steady rate, whether or not earlier ones were
// answered, as users do: a server that hangs is measured as long as it hangs.
type prober struct {
	client *http.Client
	url    string
	every  time.Duration
	log    *slog.Logger

	mu      sync.Mutex
	answers []answer
}

// answer is what became of one request.
type answer struct {
	at   time.Time
	took time.Duration
	ok   bool
}

// summary is what the prober prints. Latencies are of good answers only;
// longestGapMs is the longest time without one, also at either end.
type summary struct {
	Requests     int     `json:"requests"`
	Failed       int     `json:"failed"`
	LongestGapMs float64 `json:"longestGapMs"`
	P50Ms        float64 `json:"p50Ms"`
	P99Ms        float64 `json:"p99Ms"`
}

// runProbe is `unity probe`. It ends after a time or with SIGTERM, and prints
// the summary both to its output and to where Kubernetes picks it up.
func runProbe(ctx context.Context, args []string, p process, log *slog.Logger) error {
	flags := flag.NewFlagSet("unity probe", flag.ContinueOnError)
	rate := flags.Float64("rate", 20, "requests per second")
	length := flags.Duration("for", time.Minute, "how long to send requests")
	keepAlive := flags.Bool("keep-alive", false, "use connections again; without it, each request makes its own")
	var target string
	if len(args) > 0 {
		target, args = args[0], args[1:]
	}
	if err := parse(flags, args, p); err != nil {
		return err
	}
	if u, err := url.Parse(target); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("URL is %q: use http://host/path: %w", target, errUsage)
	}
	if *rate <= 0 || *rate > 1000 || *length <= 0 {
		return fmt.Errorf("--rate %g --for %s: use a rate up to 1000 and a time above 0: %w", *rate, *length, errUsage)
	}
	transport := &http.Transport{DisableKeepAlives: !*keepAlive, MaxIdleConnsPerHost: 100}
	defer transport.CloseIdleConnections()
	prober := &prober{
		client: &http.Client{Transport: transport, Timeout: requestTimeout},
		url:    target,
		every:  time.Duration(float64(time.Second) / *rate),
		log:    log,
	}
	ctx, cancel := context.WithTimeout(ctx, *length)
	defer cancel()
	return write(prober.run(ctx), p)
}

// run sends requests until the context ends, and waits for the last answers.
func (p *prober) run(ctx context.Context) summary {
	begin := time.Now()
	ticker := time.NewTicker(p.every)
	defer ticker.Stop()
	var pending sync.WaitGroup
	// Requests under way when the time is over are answered or time out by
	// themselves. Cut off, they would count as failures of the server.
	requests := context.WithoutCancel(ctx)
	for ctx.Err() == nil {
		pending.Go(func() { p.ask(requests) })
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
	pending.Wait()
	return summarise(begin, time.Now(), p.answers)
}

// ask sends one request and notes what became of it.
func (p *prober) ask(ctx context.Context) {
	begin := time.Now()
	err := p.get(ctx)
	end := time.Now()
	if err != nil {
		p.log.Warn("request failed", slog.Any("error", err), slog.Duration("after", end.Sub(begin)))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers = append(p.answers, answer{at: end, took: end.Sub(begin), ok: err == nil})
}

// get reads the answer to its end: half an answer is a failed request.
func (p *prober) get(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "unity-probe")
	response, err := p.client.Do(request)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	err = errors.Join(err, response.Body.Close())
	if response.StatusCode >= http.StatusBadRequest {
		err = errors.Join(fmt.Errorf("status %s", response.Status), err)
	}
	return err
}

func summarise(begin, end time.Time, answers []answer) summary {
	answers = slices.SortedFunc(slices.Values(answers), func(a, b answer) int { return a.at.Compare(b.at) })
	var took []time.Duration
	var gap time.Duration
	last := begin
	for _, answer := range answers {
		if answer.ok {
			took = append(took, answer.took)
			gap = max(gap, answer.at.Sub(last))
			last = answer.at
		}
	}
	gap = max(gap, end.Sub(last))
	slices.Sort(took)
	return summary{
		Requests:     len(answers),
		Failed:       len(answers) - len(took),
		LongestGapMs: milliseconds(gap),
		P50Ms:        milliseconds(percentile(took, 50)),
		P99Ms:        milliseconds(percentile(took, 99)),
	}
}

// percentile is the smallest value that at least so many of a hundred do not
// exceed (nearest rank), 0 of no values.
func percentile(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := (len(sorted)*percent + 99) / 100
	return sorted[rank-1]
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}

// write prints the summary. A termination log is written only where there is
// one, which is in a container.
func write(result summary, p process) error {
	text, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("summary: %w", err)
	}
	text = append(text, '\n')
	if _, err := p.stdout.Write(text); err != nil {
		return fmt.Errorf("summary: %w", err)
	}
	file, err := os.OpenFile(p.termination, os.O_WRONLY|os.O_TRUNC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("termination log: %w", err)
	}
	_, err = file.Write(text)
	return errors.Join(err, file.Close())
}
