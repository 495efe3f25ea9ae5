package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo/gitrepotest"
	"github.com/lockstep-gitops/lockstep/test/bench/figure"
	"github.com/lockstep-gitops/lockstep/test/bench/host"
)

// settledThousand is a Release of a thousand objects, delivered.
func settledThousand(ctx context.Context, s *stage) (*gitrepotest.Repo, string, error) {
	origin := s.repository(s.part, thousand, 1)
	spaces, err := s.namespaces(ctx, s.part, 1)
	if err != nil {
		return nil, "", err
	}
	_, err = s.deliver(ctx, s.release(spaces[0], s.part, source{origin.URL, "deploy", rarely}))
	return origin, spaces[0], err
}

// measureChange commits one line, pokes the daemon and waits for the line in
// the cluster, again and again. It counts what was written for that.
func measureChange(ctx context.Context, s *stage) error {
	const changes = 10
	origin, space, err := settledThousand(ctx, s)
	if err != nil {
		return err
	}
	heard, err := s.listen()
	if err != nil {
		return err
	}
	var times []time.Duration
	for i := range changes {
		took, err := s.changeOne(ctx, origin, space, i)
		if err != nil {
			return err
		}
		times = append(times, took)
	}
	requests, err := heard.requests(ctx)
	if err != nil {
		return err
	}
	writes := 0
	for _, r := range requests {
		reads := slices.Contains([]string{"get", "list", "watch"}, r.Verb)
		if r.ObjectRef.Resource == "configmaps" && r.ObjectRef.Namespace == space && !reads && !r.dry() {
			writes++
		}
	}
	say("change: %v; %s", rounded(times), s.daemon.breakdown(ctx, space))
	say("change: requests for %d changes: %s", changes, tally(requests))
	figure.Print("apply_one_line_visible", figure.Milliseconds(figure.Quantile(times, 0.5)), "ms", 300)
	figure.Print("apply_one_line_writes", float64(writes)/changes, "writes", 1)
	return nil
}

func (s *stage) changeOne(ctx context.Context, origin *gitrepotest.Repo, space string, i int) (time.Duration, error) {
	at := i * 97
	name, text := configMapName(at), content("changed", i)
	if err := host.Change(ctx, origin.Path, "deploy/"+name+".yaml", configMapYAML(name, text)); err != nil {
		return 0, err
	}
	took, err := s.until(ctx, s.client.Resource(configMaps()).Namespace(space), named(name),
		func() error { return s.poke(ctx, space, s.part) },
		func(live *unstructured.Unstructured) (bool, error) { return textOf(live) == text, nil })
	if err != nil {
		return 0, fmt.Errorf("change of %s: %w", name, err)
	}
	commit := origin.Git("rev-parse", "refs/heads/main")
	_, err = s.until(ctx, s.releases(space), named(s.part), func() error { return nil },
		func(live *unstructured.Unstructured) (bool, error) { return settled(live, commit) })
	return took, err
}

func textOf(configMap *unstructured.Unstructured) string {
	text, _, _ := unstructured.NestedString(configMap.Object, "data", "text")
	return text
}

// measureDrift changes managed objects as somebody else and waits until each is
// put back. It takes another one each time: who fights over one is left alone.
func measureDrift(ctx context.Context, s *stage) error {
	const times = 20
	_, space, err := settledThousand(ctx, s)
	if err != nil {
		return err
	}
	var took []time.Duration
	for i := range times {
		back, err := s.disturb(ctx, space, i*47)
		if err != nil {
			return err
		}
		took = append(took, back)
	}
	say("drift: %v", rounded(took))
	figure.Print("apply_drift_corrected", figure.Milliseconds(figure.Quantile(took, 0.5)), "ms", 500)
	return nil
}

func (s *stage) disturb(ctx context.Context, space string, i int) (time.Duration, error) {
	client := s.client.Resource(configMaps()).Namespace(space)
	name, right, wrong := configMapName(i), content(s.part, i), "edited by hand"
	disturbed := false
	took, err := s.until(ctx, client, named(name),
		func() error {
			_, err := client.Patch(ctx, name, types.MergePatchType, fmt.Appendf(nil, `{"data":{"text":%q}}`, wrong),
				metav1.PatchOptions{FieldManager: "somebody"})
			return err
		},
		func(live *unstructured.Unstructured) (bool, error) {
			disturbed = disturbed || textOf(live) == wrong
			return disturbed && textOf(live) == right, nil
		})
	if err != nil {
		return 0, fmt.Errorf("drift of %s: %w", name, err)
	}
	return took, nil
}

func rounded(times []time.Duration) []time.Duration {
	var out []time.Duration
	for _, t := range times {
		out = append(out, t.Round(time.Millisecond))
	}
	return out
}
