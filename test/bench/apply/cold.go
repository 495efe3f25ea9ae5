package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo/gitrepotest"
	"github.com/lockstep-gitops/lockstep/test/bench/figure"
	"github.com/lockstep-gitops/lockstep/test/bench/host"
)

const (
	// thousand objects are what most figures are about.
	thousand = 1000
	// rarely is the interval of Releases that are to be left in peace.
	rarely = 10 * time.Minute
)

// repository makes one with one overlay.
func (w *world) repository(name string, count, inFile int) *gitrepotest.Repo {
	var stream host.Stream
	stream.Commit()
	overlay(&stream, "deploy", name, 0, count, inFile)
	return w.Import(name+".git", &stream)
}

// concurrencies are those among which the bare loop has its best.
func concurrencies() []int { return []int{4, 8, 16, 32} }

// measureCold delivers a thousand objects, each in a file, from nothing.
func measureCold(ctx context.Context, s *stage) error {
	const turns = 5
	bare := map[int][]time.Duration{}
	var passes, applies []time.Duration
	for turn := range turns {
		origin := s.repository(fmt.Sprintf("cold-%d", turn), thousand, 1)
		spaces, err := s.namespaces(ctx, fmt.Sprintf("cold-%d", turn), 1+len(concurrencies()))
		if err != nil {
			return err
		}
		for i, parallel := range concurrencies() {
			took, err := s.bareLoop(ctx, spaces[i+1:i+2], thousand, parallel)
			if err != nil {
				return fmt.Errorf("bare loop: %w", err)
			}
			bare[parallel] = append(bare[parallel], took)
			say("cold: bare loop, %d at a time: %.2f s", parallel, took.Seconds())
		}
		pass, err := s.deliver(ctx, s.release(spaces[0], "cold", source{origin.URL, "deploy", rarely}))
		if err != nil {
			return err
		}
		applied, err := s.daemon.phases(ctx, spaces[0], "Foundation", "Rollout")
		if err != nil {
			return err
		}
		passes, applies = append(passes, pass), append(applies, applied)
		say("cold: ours: %.2f s, of which apply %.2f s; %s", pass.Seconds(), applied.Seconds(), s.daemon.breakdown(ctx, spaces[0]))
	}
	best := math.Inf(1)
	for _, parallel := range concurrencies() {
		if took := figure.Quantile(bare[parallel], 0.5).Seconds(); took < best {
			best, s.parallel = took, parallel
		}
	}
	say("cold: the bare loop is best with %d at a time: %.2f s", s.parallel, best)
	figure.Print("apply_cold_1000_phases", figure.Quantile(applies, 0.5).Seconds()/best, "ratio", 1.25)
	figure.Print("apply_cold_1000_pass", figure.Quantile(passes, 0.5).Seconds()/best, "ratio", 2.3)
	return nil
}

// measureLarge delivers one Release of ten thousand objects.
func measureLarge(ctx context.Context, s *stage) error {
	const count = 10 * thousand
	origin := s.repository("large", count, 100)
	spaces, err := s.namespaces(ctx, "large", 2)
	if err != nil {
		return err
	}
	bare, err := s.bareLoop(ctx, spaces[1:], count, s.parallel)
	if err != nil {
		return fmt.Errorf("bare loop: %w", err)
	}
	say("large: bare loop, %d at a time: %.1f s", s.parallel, bare.Seconds())
	pass, err := s.deliver(ctx, s.release(spaces[0], "large", source{origin.URL, "deploy", rarely}))
	if err != nil {
		return err
	}
	memory, err := s.daemon.memory("VmHWM")
	if err != nil {
		return err
	}
	say("large: ours: %.1f s; %s; at most %.0f MiB resident", pass.Seconds(), s.daemon.breakdown(ctx, spaces[0]), memory[0])
	figure.Print("apply_large_10000", pass.Seconds()/bare.Seconds(), "ratio", 2.3)
	return nil
}
