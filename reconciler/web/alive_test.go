package web_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler/web"
)

// TestWatchdog covers G7: only work that does not come back makes the process
// dead, and it is alive again when the work comes back after all.
func TestWatchdog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dog web.Watchdog
		health := web.Health(dog.Alive, func() error { return nil })
		healthz := func() string { return ask(t, health, http.MethodGet, "/healthz").Body.String() }
		pass := func(d time.Duration) { <-time.After(d) }

		assert.Equal(t, healthz(), "ok\n", "no work at all")
		pass(24 * time.Hour)
		assert.Equal(t, healthz(), "ok\n", "no work for a day")

		poll := dog.Watch("poll of shop/backend", 10*time.Minute)
		quick := dog.Watch("poll of shop/frontend", time.Minute)
		pass(time.Minute)
		quick()
		assert.Equal(t, healthz(), "ok\n", "work within its limit")
		pass(9 * time.Minute)
		assert.Equal(t, healthz(), "ok\n", "work at its limit")
		later := dog.Watch("pass of shop/frontend", time.Minute)
		pass(2 * time.Minute)
		assert.Equal(t, healthz(), "stuck: poll of shop/backend began 12m0s ago and had to end within 10m0s\n")
		assert.Equal(t, ask(t, health, http.MethodGet, "/healthz").Code, http.StatusServiceUnavailable)
		assert.Equal(t, ask(t, health, http.MethodGet, "/readyz").Code, http.StatusOK)

		poll()
		assert.Equal(t, healthz(), "stuck: pass of shop/frontend began 2m0s ago and had to end within 1m0s\n")
		later()
		later()
		assert.Equal(t, healthz(), "ok\n", "all work came back")
	})
}
