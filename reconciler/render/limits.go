package render

import (
	"cmp"
	"time"
)

// Limits bound what one render may use.
type Limits struct {
	// Timeout is the time until the child is killed. Default 60 seconds.
	Timeout time.Duration
	// Memory is what the child may allocate, in bytes. Default 1 GiB.
	Memory int64
	// Output is the size of all objects as JSON, in bytes. Default 64 MiB.
	Output int64
	// Decoded is about what all objects take in the memory of the caller, in
	// bytes. Default 128 MiB. It is what bounds the daemon: many small values
	// take far more memory than JSON.
	Decoded int64
	// Objects is their number. Default 20,000.
	Objects int
	// File is the size of one file, in bytes; a larger one is refused before
	// it is read. Default 4 MiB, which holds the largest bundles of CRDs.
	File int64
	// Input is the size of all files read, in bytes. Default 64 MiB.
	Input int64
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Timeout: cmp.Or(l.Timeout, time.Minute),
		Memory:  cmp.Or(l.Memory, 1<<30),
		Output:  cmp.Or(l.Output, 64<<20),
		Decoded: cmp.Or(l.Decoded, 128<<20),
		Objects: cmp.Or(l.Objects, 20_000),
		File:    cmp.Or(l.File, 4<<20),
		Input:   cmp.Or(l.Input, 64<<20),
	}
}
