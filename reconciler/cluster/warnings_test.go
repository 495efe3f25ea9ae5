package cluster_test

import (
	"context"
	"log/slog"
	"slices"
	"sync"
)

// recordedWarnings is a slog handler that keeps what the API server warns of.
type recordedWarnings struct {
	mu    sync.Mutex
	texts []string
}

// Enabled implements slog.Handler.
func (*recordedWarnings) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (r *recordedWarnings) Handle(_ context.Context, record slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	record.Attrs(func(attr slog.Attr) bool {
		if attr.Key == "warning" {
			r.texts = append(r.texts, attr.Value.String())
		}
		return true
	})
	return nil
}

// WithAttrs implements slog.Handler.
func (r *recordedWarnings) WithAttrs([]slog.Attr) slog.Handler { return r }

// WithGroup implements slog.Handler.
func (r *recordedWarnings) WithGroup(string) slog.Handler { return r }

func (r *recordedWarnings) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.texts)
}
