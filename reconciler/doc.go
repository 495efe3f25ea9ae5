// Package reconciler is the domain of Lockstep: what a pass over a Release is,
// which phases an attempt has, and what is decided from what was seen. It
// talks to git, kustomize, Kubernetes, PostgreSQL and Prometheus only through
// the interfaces in ports.go; the adapters live in the folders below.
//
// A pass looks at the branch, at the Release and at the cluster, decides, and
// acts. It can be killed at any instant: nothing stores "I am running", only
// facts, and each step can be run again.
//
//	branch moved, or spec changed, or an attempt was cut off?
//	   │ no: nothing is written, nothing is asked
//	   ▼ yes
//	 Fetch ─▶ Render ─▶ Plan ─▶ Foundation ─▶ Migrate ─▶ Rollout ─▶ Verify ─▶ Settled
//	   │        │        │          │            │           │         │
//	   └────────┴────────┴──────────┴─────┬──────┴───────────┴─────────┘
//	                                      ▼
//	           may pass by itself: the same attempt goes on after a pause
//	           will not: Held, until the branch or the spec changes
package reconciler
