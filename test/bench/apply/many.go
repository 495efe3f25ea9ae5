package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"golang.org/x/sync/errgroup"

	"github.com/lockstep-gitops/lockstep/test/bench/figure"
	"github.com/lockstep-gitops/lockstep/test/bench/host"
)

const (
	// teams have a namespace and a repository each, with an overlay for each
	// of their Releases.
	teams, releasesOfTeam, objectsOfRelease = 10, 100, 10
	allReleases                             = teams * releasesOfTeam
	// often is the interval of Releases whose rest is measured, and watched is
	// how long it is looked at: the daemon waits up to a tenth longer than the
	// interval, so each is polled at least once.
	often   = time.Minute
	watched = 67 * time.Second
)

// measureMany delivers a thousand Releases of ten objects, and looks at the
// daemon when there is nothing more to do.
func measureMany(ctx context.Context, s *stage) error {
	spaces, err := s.namespaces(ctx, "many", teams)
	if err != nil {
		return err
	}
	alone, err := s.namespaces(ctx, "many-bare", teams)
	if err != nil {
		return err
	}
	releases := s.teamwork(spaces)
	bare, err := s.bareLoop(ctx, alone, allReleases*objectsOfRelease, s.parallel)
	if err != nil {
		return fmt.Errorf("bare loop: %w", err)
	}
	say("many: bare loop, %d at a time: %.1f s", s.parallel, bare.Seconds())
	heard, err := s.listen()
	if err != nil {
		return err
	}
	took, err := s.deliverAll(ctx, releases)
	if err != nil {
		return err
	}
	used, errCPU := s.daemon.cpu()
	requests, err := heard.requests(ctx)
	if err := errors.Join(err, errCPU); err != nil {
		return err
	}
	say("many: ours: %.1f s, %.1f s of processor time; all Releases together: %s; %s",
		took.Seconds(), used.Seconds(), s.daemon.breakdown(ctx, "many-"), tally(requests))
	figure.Print("apply_1000_releases_beyond_bare", (took - bare).Seconds(), "s", 90)
	return s.rest(ctx)
}

// teamwork makes the repositories, and the Releases that follow them.
func (s *stage) teamwork(spaces []string) []*unstructured.Unstructured {
	var releases []*unstructured.Unstructured
	for _, space := range spaces {
		var stream host.Stream
		stream.Commit()
		for i := range releasesOfTeam {
			overlay(&stream, fmt.Sprintf("apps/app-%d", i), space, i*objectsOfRelease, objectsOfRelease, objectsOfRelease)
		}
		origin := s.Import(space+".git", &stream)
		for i := range releasesOfTeam {
			name := fmt.Sprintf("app-%d", i)
			releases = append(releases, s.release(space, name, source{origin.URL, "apps/" + name, often}))
		}
	}
	return releases
}

// deliverAll makes Releases and tells how long it took until all were ready.
func (s *stage) deliverAll(ctx context.Context, releases []*unstructured.Unstructured) (time.Duration, error) {
	const parallel = 16
	ready := map[string]bool{}
	return s.until(ctx, s.releases(metav1.NamespaceAll), metav1.ListOptions{LabelSelector: partLabel + "=" + s.part},
		func() error {
			group, within := errgroup.WithContext(ctx)
			group.SetLimit(parallel)
			for _, release := range releases {
				group.Go(func() error { return s.create(within, release) })
			}
			return group.Wait()
		},
		func(live *unstructured.Unstructured) (bool, error) {
			done, err := settled(live, "")
			if done {
				ready[live.GetNamespace()+"/"+live.GetName()] = true
			}
			return len(ready) == len(releases), err
		})
}

// rest looks at the daemon while nothing changes and each Release is polled.
func (s *stage) rest(ctx context.Context) error {
	// What was begun at the end of the delivery is no part of the rest.
	if err := pause(ctx, 5*time.Second); err != nil {
		return err
	}
	heard, err := s.listen()
	if err != nil {
		return err
	}
	polls, began := s.Git.Polls(), time.Now()
	before, err := s.daemon.cpu()
	if err != nil {
		return err
	}
	if err := pause(ctx, watched); err != nil {
		return err
	}
	after, errCPU := s.daemon.cpu()
	memory, errMemory := s.daemon.memory("VmRSS", "VmHWM", "RssFile")
	minutes := time.Since(began).Minutes()
	requests, err := heard.requests(ctx)
	if err := errors.Join(err, errCPU, errMemory, s.allPolled(ctx, began)); err != nil {
		return err
	}
	var asked []request
	for _, r := range requests {
		if r.Verb != "watch" && r.ObjectRef.Resource != "leases" {
			asked = append(asked, r)
		}
	}
	used := after - before
	say("many: at rest for %.1f min: %d polls of git, %.2f s of processor time, %.0f MiB resident, %.0f of them the program itself, at most %.0f before; asked: %s; all requests: %s",
		minutes, s.Git.Polls()-polls, used.Seconds(), memory[0], memory[2], memory[1], tally(asked), tally(requests))
	figure.Print("apply_rest_requests", float64(len(asked)), "requests", 0)
	figure.Print("apply_rest_cpu_release_minute", figure.Milliseconds(used)/minutes/allReleases, "ms", 1)
	figure.Print("apply_rest_core", used.Minutes()/minutes*100, "percent", 1)
	figure.Print("apply_rest_resident", memory[0], "MiB", 200)
	return nil
}

// allPolled makes sure that the rest was none of a daemon that does nothing.
func (s *stage) allPolled(ctx context.Context, since time.Time) error {
	samples, err := s.daemon.scrape(ctx, "lockstep_git_last_poll_timestamp_seconds")
	if err != nil {
		return err
	}
	oldest := math.Inf(1)
	for _, sample := range samples {
		oldest = min(oldest, sample.value)
	}
	if age := float64(since.UnixNano())/1e9 - oldest; len(samples) != allReleases || age > 0 {
		return fmt.Errorf("%d Releases of %d have looked at their branch, the last of them %.0f s before the rest began", len(samples), allReleases, age)
	}
	return nil
}
