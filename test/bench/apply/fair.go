package main

import (
	"context"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/lockstep-gitops/lockstep/test/bench/figure"
	"github.com/lockstep-gitops/lockstep/test/bench/host"
)

// slowReleases wait for a Deployment that is never ready.
const slowReleases = 49

// deployment is never ready, since there is no node.
const deployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec: {containers: [{name: c, image: nothing}]}
`

func slowName(i int) string { return fmt.Sprintf("slow-%d", i) }

// measureFair is how long a Release takes beside others that wait.
func measureFair(ctx context.Context, s *stage) error {
	spaces, err := s.namespaces(ctx, "fair", 1)
	if err != nil {
		return err
	}
	var stream host.Stream
	stream.Commit()
	overlay(&stream, "quick", "fair", 0, 1, 1)
	for i := range slowReleases {
		name := slowName(i)
		stream.File(name+"/kustomization.yaml", "resources: [d.yaml]\n")
		stream.File(name+"/d.yaml", strings.ReplaceAll(deployment, "NAME", name))
	}
	origin := s.Import("fair.git", &stream)
	var slow []*unstructured.Unstructured
	for i := range slowReleases {
		name := slowName(i)
		slow = append(slow, s.release(spaces[0], name, source{origin.URL, name, rarely}))
	}
	if err := s.allWait(ctx, spaces[0], slow); err != nil {
		return err
	}
	took, err := s.deliver(ctx, s.release(spaces[0], "quick", source{origin.URL, "quick", rarely}))
	if err != nil {
		return err
	}
	say("fair: %.2f s", took.Seconds())
	figure.Print("apply_beside_49_that_wait", took.Seconds(), "s", 5)
	return nil
}

// allWait makes Releases and waits until each of them waits.
func (s *stage) allWait(ctx context.Context, space string, releases []*unstructured.Unstructured) error {
	waiting := map[string]bool{}
	_, err := s.until(ctx, s.releases(space), metav1.ListOptions{},
		func() error {
			for _, release := range releases {
				if err := s.create(ctx, release); err != nil {
					return err
				}
			}
			return nil
		},
		func(live *unstructured.Unstructured) (bool, error) {
			phase, _, err := unstructured.NestedString(live.Object, "status", "phase")
			if phase == "Rollout" {
				waiting[live.GetName()] = true
			}
			return len(waiting) == len(releases), err
		})
	return err
}
