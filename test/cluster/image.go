package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/lockstep-gitops/lockstep/test/cluster/debian"
	"github.com/lockstep-gitops/lockstep/test/cluster/images"
	"github.com/lockstep-gitops/lockstep/test/cluster/lock"
	"github.com/lockstep-gitops/lockstep/test/cluster/plan"
	"github.com/lockstep-gitops/lockstep/test/cluster/tools"
)

// recipe is one of the known images.
type recipe struct {
	ref   string
	needs []debian.Need
	// source is the folder of a program that enters the image, or empty.
	source   string
	describe func(program, ref string) (images.Description, error)
}

func recipes() map[string]recipe {
	return map[string]recipe{
		"pause": {
			ref:      plan.PauseImage,
			describe: func(program, ref string) (images.Description, error) { return images.Pause(program, ref), nil },
		},
		"postgres": {
			ref:      "lockstep.local/postgres:15",
			needs:    images.PostgresNeeds(),
			describe: func(_, ref string) (images.Description, error) { return images.Postgres(ref) },
		},
		"redis": {
			ref:      "lockstep.local/redis:7",
			needs:    images.RedisNeeds(),
			describe: func(_, ref string) (images.Description, error) { return images.Redis(ref) },
		},
		"git": {
			ref:      "lockstep.local/git:2",
			needs:    images.GitNeeds(),
			source:   "./test/gitserver",
			describe: images.Git,
		},
	}
}

// imageCommand writes the archive of a known image, or of one static binary.
func imageCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var binary, ref, out string
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&binary, "binary", "", "")
	flags.StringVar(&ref, "name", "", "")
	flags.StringVar(&out, "out", "", "")
	name, err := parseImage(flags, args)
	if err != nil {
		return err
	}
	if out == "" || (name == "") == (binary == "") || (binary == "") != (ref == "") {
		return fmt.Errorf("%w: give NAME --out FILE, or --binary FILE --name REF --out FILE", errUsage)
	}
	builder, err := newBuilder(stderr)
	if err != nil {
		return err
	}
	if binary != "" {
		ref, err = packBinary(ctx, builder, binary, ref, out)
	} else {
		ref, err = packKnown(ctx, builder, name, out, stderr)
	}
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(stdout, "%s: %s\n", out, ref)
	return nil
}

// parseImage lets the image's name stand before or after the flags.
func parseImage(flags *flag.FlagSet, args []string) (name string, err error) {
	for {
		err := flags.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			return "", err
		}
		if err != nil {
			return "", fmt.Errorf("%w: %w", errUsage, err)
		}
		if flags.NArg() == 0 {
			return name, nil
		}
		if name != "" {
			return "", fmt.Errorf("%w: unexpected argument %q", errUsage, flags.Arg(0))
		}
		name, args = flags.Arg(0), flags.Args()[1:]
	}
}

func packBinary(ctx context.Context, builder *tools.Builder, binary, ref, out string) (string, error) {
	packer, err := newPacker(ctx, builder)
	if err != nil {
		return "", err
	}
	if binary, err = filepath.Abs(binary); err != nil {
		return "", fmt.Errorf("binary: %w", err)
	}
	return ref, packer.Pack(ctx, images.Binary(binary, filepath.Base(binary), ref), out)
}

func packKnown(ctx context.Context, builder *tools.Builder, name, out string, stderr io.Writer) (string, error) {
	r, ok := recipes()[name]
	if !ok {
		return "", fmt.Errorf("%w: there is no image %q: use pause, postgres, redis or git", errUsage, name)
	}
	if err := debian.Ensure(ctx, r.needs, stderr); err != nil {
		return "", err
	}
	archive, err := cachedImage(ctx, builder, name)
	if err != nil {
		return "", err
	}
	return r.ref, copyFile(archive, out)
}

// cachedImage returns the archive of a known image whose packages are there.
func cachedImage(ctx context.Context, builder *tools.Builder, name string) (string, error) {
	r := recipes()[name]
	packer, err := newPacker(ctx, builder)
	if err != nil {
		return "", err
	}
	release, err := lock.Acquire(ctx, filepath.Join(packer.Cache, "."+name+".lock"), func() {})
	if err != nil {
		return "", err
	}
	defer release()
	program, err := programOf(ctx, builder, name, r)
	if err != nil {
		return "", err
	}
	d, err := r.describe(program, r.ref)
	if err != nil {
		return "", fmt.Errorf("image %s: %w", name, err)
	}
	return packer.Cached(ctx, d)
}

// programOf builds the program that enters the image, if there is one.
func programOf(ctx context.Context, builder *tools.Builder, name string, r recipe) (string, error) {
	if name == "pause" {
		return builder.Pause(ctx)
	}
	if r.source == "" {
		return "", nil
	}
	cache, err := cacheHome()
	if err != nil {
		return "", err
	}
	// The path is part of the image's description, so it is the same each time.
	program := filepath.Join(cache, "programs", filepath.Base(r.source))
	return program, builder.Static(ctx, r.source, program)
}

func newPacker(ctx context.Context, builder *tools.Builder) (images.Packer, error) {
	program, err := builder.Image(ctx)
	if err != nil {
		return images.Packer{}, err
	}
	cache, err := cacheHome()
	if err != nil {
		return images.Packer{}, err
	}
	version, err := builder.Version("image")
	if err != nil {
		return images.Packer{}, err
	}
	return images.Packer{Program: program, Version: version, Cache: filepath.Join(cache, "images")}, nil
}

// copyFile copies in one step, so that a reader never meets half of it.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	defer func() { _ = in.Close() }()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	out, err := os.Create(to + ".partial")
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	defer func() { _ = os.Remove(out.Name()) }()
	defer func() { _ = out.Close() }()
	if _, err := io.Copy(out, in); err != nil {
		return fmt.Errorf("copy to %s: %w", to, err)
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("copy to %s: %w", to, err)
	}
	return os.Rename(out.Name(), to)
}
