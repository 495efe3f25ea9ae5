package supervise

import (
	"io"
	"os"
	"strings"
)

// tailBytes is about as much of a log as fits on a screen.
const tailBytes = 4096

// Tail returns the end of a log file, for an error message. A log that cannot
// be read has nothing to add to one.
func Tail(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.Size() > tailBytes {
		if _, err := f.Seek(-tailBytes, io.SeekEnd); err != nil {
			return ""
		}
	}
	text, err := io.ReadAll(io.LimitReader(f, tailBytes))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
