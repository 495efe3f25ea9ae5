// Package figure prints what benchmarks measure, in the one form that all of
// them share.
package figure

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Print prints a figure on the standard output. It is ok when it does not
// exceed its goal.
func Print(name string, value float64, unit string, goal float64) {
	verdict := "ok"
	if value > goal {
		verdict = "short"
	}
	fmt.Printf("figure %s %.4g %s goal %g %s\n", name, value, unit, goal, verdict)
}

// Quantile gives the time that a part of all, from 0 to 1, stays below.
func Quantile(times []time.Duration, part float64) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[min(len(sorted)-1, int(part*float64(len(sorted))))]
}

// Milliseconds is a time as a number.
func Milliseconds(d time.Duration) float64 { return d.Seconds() * 1000 }

// Mebibytes reads a line of /proc/PID/status, such as "VmRSS:".
func Mebibytes(status []byte, key string) (float64, error) {
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
