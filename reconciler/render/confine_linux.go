package render

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// confine takes from this process what a render does not need. The limit is
// on writable private memory; one on address space would count what the Go
// runtime reserves and never touches. No core is dumped, since it would hold
// what was decrypted.
func confine(memory int64) error {
	if memory > 0 {
		limit := uint64(memory)
		if err := unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			return fmt.Errorf("limit memory: %w", err)
		}
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("limit core size: %w", err)
	}
	// A kernel without seccomp leaves the other locks: a file system that is
	// the commit, a transport that refuses, and no PATH.
	_ = forbidSystemCalls()
	return nil
}
