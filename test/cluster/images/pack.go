package images

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Packer has images packed by the nested program.
type Packer struct {
	Program string // path of the program image
	Version string // names what it was built from
	Cache   string // folder of packed archives
}

// Pack writes the archive.
func (p Packer) Pack(ctx context.Context, d Description, out string) error {
	text, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("image %s: %w", d.Ref, err)
	}
	if out, err = filepath.Abs(out); err != nil {
		return fmt.Errorf("image %s: %w", d.Ref, err)
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return fmt.Errorf("image %s: %w", d.Ref, err)
	}
	cmd := exec.CommandContext(ctx, p.Program, "--out", out)
	cmd.Stdin = bytes.NewReader(text)
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("image %s: %w: %s", d.Ref, err, strings.TrimSpace(string(said)))
	}
	return nil
}

// Cached returns the path of an archive of the image, packed before or now.
func (p Packer) Cached(ctx context.Context, d Description) (string, error) {
	key, err := p.key(d)
	if err != nil {
		return "", fmt.Errorf("image %s: %w", d.Ref, err)
	}
	base := strings.NewReplacer("/", "_", ":", "_").Replace(d.Ref)
	path := filepath.Join(p.Cache, base+"-"+key+".tar")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, p.Pack(ctx, d, path)
}

// key covers the description, the contents of its files and the packer: a
// package that was updated makes another image.
func (p Packer) key(d Description) (string, error) {
	h := sha256.New()
	if err := json.NewEncoder(h).Encode(d); err != nil {
		return "", err
	}
	_, _ = fmt.Fprintln(h, p.Version)
	for _, f := range d.Files {
		if f.Source == "" {
			continue
		}
		if err := digestFile(h, f.Source); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

func digestFile(h io.Writer, path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	n, err := io.Copy(h, in)
	_, _ = fmt.Fprintln(h, n)
	return err
}
