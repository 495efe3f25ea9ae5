package render

import (
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"sort"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

func finest() grain { return grain{apart: 1, objects: 1, bytes: 1} }

// Pieces is how many pieces of one object an overlay can be built in.
func Pieces(tree reconciler.Tree, folder string) int {
	if plan := survey(newFileSystem(newReader(tree, Limits{}.withDefaults())), folder, finest()); plan != nil {
		return len(plan.sizes) - 1
	}
	return 0
}

// BuildFinely is Build in this process, in pieces of one object wherever
// pieces are made at all.
func BuildFinely(tree reconciler.Tree, folder string) ([]byte, error) {
	return buildHere(tree, folder, finest())
}

// BuildWhole is Build in this process, and never in pieces.
func BuildWhole(tree reconciler.Tree, folder string) ([]byte, error) {
	return buildHere(tree, folder, grain{apart: math.MaxInt})
}

// Kept are the pieces of the latest of several builds in this process.
type Kept struct{ pieces map[string][]byte }

// Build is BuildFinely, with the pieces that were kept. It tells how many of
// them were taken.
func (k *Kept) Build(tree reconciler.Tree, folder string) (out []byte, taken int, err error) {
	files := newReader(tree, Limits{}.withDefaults())
	files.pieces = &stock{known: k.pieces, used: map[string][]byte{}, room: 1 << 20}
	out, err = buildFrom(files, folder, grain{apart: 1, objects: 2, bytes: 1 << 20})
	if err != nil {
		return nil, 0, err
	}
	for key := range files.pieces.used {
		if _, known := k.pieces[key]; known {
			taken++
		}
	}
	k.pieces = files.pieces.used
	return out, taken, nil
}

// Stock says how many pieces there are of the latest render of an overlay, and
// how many bytes all that is remembered takes.
func (r *Renderer) Stock(repository, overlay string) (pieces int, size int64) {
	return len(r.memo.stock(home{repository, overlay}).known), r.memo.size
}

func buildHere(tree reconciler.Tree, folder string, g grain) (out []byte, err error) {
	return buildFrom(newReader(tree, Limits{}.withDefaults()), folder, g)
}

func buildFrom(files *reader, folder string, g grain) (out []byte, err error) {
	err = build(newFileSystem(files), folder, files.limits, g, func(o object) error {
		text, err := yaml.JSONToYAML(o.json)
		if len(out) > 0 {
			out = append(out, "---\n"...)
		}
		out = append(out, text...)
		return err
	})
	return out, err
}

// Footprint is what a JSON text is thought to take once it is decoded.
func Footprint(text []byte) int64 { return footprint(text) }

// ProbeArgument makes the test binary run Probe in place of the tests.
const ProbeArgument = "render-probe"

// Probe confines its process as a child does and tells which doors are open.
func Probe(out io.Writer) int {
	if err := confine(0); err != nil {
		_, _ = fmt.Fprintln(out, err)
		return 1
	}
	tries := map[string]func() error{
		"open a file":   func() error { _, err := os.Open("/etc/hostname"); return err },
		"write a file":  func() error { return os.WriteFile("/tmp/lockstep-probe", nil, 0o600) },
		"list a folder": func() error { _, err := os.ReadDir("/"); return err },
		"make a folder": func() error { return os.Mkdir("/tmp/lockstep-probe", 0o700) },
		"connect":       func() error { _, err := net.Dial("tcp", "127.0.0.1:1"); return err },
		"listen":        func() error { _, err := net.Listen("tcp", "127.0.0.1:0"); return err },
		"run a program": func() error { return exec.Command("/bin/true").Run() },
		"kill a process": func() error {
			self, err := os.FindProcess(os.Getppid())
			if err != nil {
				return err
			}
			return self.Kill()
		},
	}
	var lines []string
	for name, try := range tries {
		verdict := "open"
		if err := try(); err != nil && strings.Contains(err.Error(), "operation not permitted") {
			verdict = "shut"
		}
		lines = append(lines, name+": "+verdict)
	}
	sort.Strings(lines)
	_, _ = fmt.Fprintln(out, strings.Join(lines, "\n"))
	return 0
}
