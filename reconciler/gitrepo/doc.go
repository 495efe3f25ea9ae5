// Package gitrepo brings commits from git servers over https and ssh.
//
// A Store asks servers for their branches and tags (Tip, Refs) and fetches
// single commits without their history (Fetch). What it fetched is a set of
// pack files on disk: there is no worktree, no reference, no configuration and
// no loose object, so none of them can be stale, half written or hostile. Their
// indexes are kept in memory. A Tree reads folders and files out of the packs
// when they are asked for, and nothing else.
//
// Everything that comes from a server is taken as hostile: every call has a
// deadline, every body and every object a limit, and every text is shortened
// and cleaned before it becomes part of an error.
package gitrepo
