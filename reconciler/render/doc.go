// Package render turns a kustomize overlay of one commit into objects.
//
// A repository is not trusted: rendering reads the commit and nothing else,
// writes nothing, asks nobody, and ends. kustomize promises none of that, so
// it runs in a child process of our own binary that has no store, no network,
// no PATH, a deadline and a memory limit. The child asks its parent for files
// over a pipe, which is also how the parent knows what a render depended on.
//
//	daemon                                   child (render-child)
//	  Render ── spawn ──────────────────────▶ ChildMain
//	    │                                       │ krusty over fileSystem
//	  reader ◀──────── look at a path ──────────┤
//	    └── content, directory, absent ────────▶│
//	  objects ◀─────── JSON and origin ─────────┘
//
// kustomize needs time that grows with the square of the number of objects.
// ConfigMaps and Secrets that have to do with nothing else in their overlay are
// therefore built in pieces of a hundred, each by kustomize; see assemble.
//
// A render whose files are all the same in a later commit is remembered and
// not done again. Substitute and Decrypted are separate: one works on the
// objects, the other on the tree that is rendered, and both are used only by
// those who ask for them.
package render
