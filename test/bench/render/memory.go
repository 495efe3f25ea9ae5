package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/lockstep-gitops/lockstep/test/bench/figure"
)

// cpu is the processor time that this process has used, its children not counted.
func cpu() (time.Duration, error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, err
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), nil
}

// peakWhile is the largest resident size of this process while run ran, in
// MiB, and how much that is above what it was before.
func peakWhile(run func() error) (peak, growth float64, err error) {
	runtime.GC()
	debug.FreeOSMemory()
	// This makes the kernel forget the peak so far.
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		return 0, 0, fmt.Errorf("reset the peak of resident memory: %w", err)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0, err
	}
	before, err := figure.Mebibytes(status, "VmRSS:")
	if err != nil {
		return 0, 0, err
	}
	if err := run(); err != nil {
		return 0, 0, err
	}
	if status, err = os.ReadFile("/proc/self/status"); err != nil {
		return 0, 0, err
	}
	peak, err = figure.Mebibytes(status, "VmHWM:")
	return peak, peak - before, err
}

// timed adds how long run takes.
func timed(times *[]time.Duration, run func() error) error {
	at := time.Now()
	err := run()
	*times = append(*times, time.Since(at))
	return err
}
