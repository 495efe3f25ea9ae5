// Command image packs files into a container image archive that `ctr images
// import`, `docker load` and `kind load image-archive` take. It reads what to
// pack from a JSON description on standard input:
//
//	image --out FILE.tar < description.json
//
// The same description and files give the same bytes: entries are sorted, and
// no time, owner name or machine name enters the archive.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// description is one image: its reference, how it is started, and its files.
type description struct {
	Ref        string   `json:"ref"`
	Entrypoint []string `json:"entrypoint,omitempty"`
	Cmd        []string `json:"cmd,omitempty"`
	Env        []string `json:"env,omitempty"`
	User       string   `json:"user,omitempty"`
	WorkingDir string   `json:"workingDir,omitempty"`
	Files      []file   `json:"files"`
}

func main() {
	out := flag.String("out", "", "archive to write")
	flag.Parse()
	if err := run(os.Stdin, *out); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out string) error {
	if out == "" {
		return fmt.Errorf("--out names no file")
	}
	var d description
	decoder := json.NewDecoder(in)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		return fmt.Errorf("description: %w", err)
	}
	ref, err := name.NewTag(d.Ref, name.StrictValidation)
	if err != nil {
		return fmt.Errorf("description: ref: %w", err)
	}
	image, err := assemble(d)
	if err != nil {
		return fmt.Errorf("image %s: %w", ref, err)
	}
	return write(out, ref, image)
}

// assemble makes an image of one layer, created at the beginning of time.
func assemble(d description) (v1.Image, error) {
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return archive(d.Files), nil
	})
	if err != nil {
		return nil, fmt.Errorf("layer: %w", err)
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, fmt.Errorf("layer: %w", err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	config = config.DeepCopy()
	config.Created = v1.Time{Time: time.Unix(0, 0).UTC()}
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config = v1.Config{
		Entrypoint: d.Entrypoint,
		Cmd:        d.Cmd,
		Env:        d.Env,
		User:       d.User,
		WorkingDir: d.WorkingDir,
	}
	return mutate.ConfigFile(image, config)
}

// write puts the archive in place in one step, so that a reader never meets
// half of it.
func write(out string, ref name.Tag, image v1.Image) error {
	f, err := os.CreateTemp(filepath.Dir(out), "."+filepath.Base(out)+".*")
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	defer func() { _ = f.Close() }()
	if err := tarball.Write(ref, image, f); err != nil {
		return fmt.Errorf("archive %s: %w", out, err)
	}
	if err := f.Chmod(0o644); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	return os.Rename(f.Name(), out)
}
