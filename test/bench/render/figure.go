package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
)

// figure prints a figure in the form that all benchmarks share. It is ok when
// it does not exceed its goal.
func figure(name string, value float64, unit string, goal float64) {
	verdict := "ok"
	if value > goal {
		verdict = "short"
	}
	fmt.Printf("figure %s %.4g %s goal %g %s\n", name, value, unit, goal, verdict)
}

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
	before, err := mebibytes(status, "VmRSS:")
	if err != nil {
		return 0, 0, err
	}
	if err := run(); err != nil {
		return 0, 0, err
	}
	if status, err = os.ReadFile("/proc/self/status"); err != nil {
		return 0, 0, err
	}
	peak, err = mebibytes(status, "VmHWM:")
	return peak, peak - before, err
}

// mebibytes reads a line of /proc/PID/status.
func mebibytes(status []byte, key string) (float64, error) {
	_, rest, ok := bytes.Cut(status, []byte(key))
	if !ok {
		return 0, fmt.Errorf("the kernel gives no %s", strings.TrimSuffix(key, ":"))
	}
	var kib float64
	if _, err := fmt.Sscan(string(rest), &kib); err != nil {
		return 0, err
	}
	return kib / 1024, nil
}

// quantile gives the time that a part of all stays below.
func quantile(times []time.Duration, part float64) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[min(len(sorted)-1, int(part*float64(len(sorted))))]
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1000 }

// timed adds how long run takes.
func timed(times *[]time.Duration, run func() error) error {
	at := time.Now()
	err := run()
	*times = append(*times, time.Since(at))
	return err
}
