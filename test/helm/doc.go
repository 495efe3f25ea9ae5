// Package helm tests the chart in charts/lockstep: that it renders the objects
// of manifests, that its values do what they say, and that a real API server
// takes what it renders. It also holds the documents to what exists.
package helm
