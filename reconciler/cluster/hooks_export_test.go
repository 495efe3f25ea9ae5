package cluster

import "time"

// SetPause shortens the pauses between what webhooks cause.
func (h *Hooks) SetPause(pause time.Duration) { h.pause = pause }
