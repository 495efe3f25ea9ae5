package harness

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
)

// Image is an image of one of our own programs.
type Image struct {
	// Ref is its name in the cluster.
	Ref string
	// Package is built, with these tags and values of variables.
	Package string
	Tags    string
	Set     string
}

// Lockstep is the image of the daemon as it is shipped.
func Lockstep() Image {
	return Image{Ref: "lockstep.local/lockstep:dev", Package: "./cmd/lockstep", Set: "main.version=dev"}
}

// LockstepThatDies is the daemon with failpoints built in.
func LockstepThatDies() Image {
	return Image{Ref: "lockstep.local/lockstep:failpoint", Package: "./cmd/lockstep", Tags: "failpoint"}
}

// Unity is a generation of the reference backend.
func Unity(generation string) Image {
	return Image{Ref: "lockstep.local/unity:v" + generation, Package: "./cmd/unity", Set: "main.generation=" + generation}
}

// LoadImages builds images and makes them known to the cluster, together with
// those of the database, the cache and the git server.
func (c *Cluster) LoadImages(ctx context.Context, images ...Image) error {
	folder := filepath.Join(c.Root, ".build", "images")
	var archives []string
	for i, image := range images {
		// The file keeps the name that manifests call it by: /unity.
		binary := filepath.Join(folder, fmt.Sprintf("program-%d", i), filepath.Base(image.Package))
		archive := filepath.Join(folder, fmt.Sprintf("image-%d.tar", i))
		c.say("build %s", image.Ref)
		err := c.quiet(ctx, "go", "build", "-trimpath", "-tags", image.Tags, "-ldflags", "-s -w -X "+orNothing(image.Set), "-o", binary, image.Package)
		if err != nil {
			return err
		}
		if err := c.quiet(ctx, "go", "run", "./test/cluster", "image", "--binary", binary, "--name", image.Ref, "--out", archive); err != nil {
			return err
		}
		archives = append(archives, archive)
	}
	for _, name := range []string{"postgres", "redis", "git"} {
		archive := filepath.Join(folder, name+".tar")
		c.say("gather the image of %s", name)
		if err := c.quiet(ctx, "go", "run", "./test/cluster", "image", name, "--out", archive); err != nil {
			return err
		}
		archives = append(archives, archive)
	}
	c.say("load %d images into the node", len(archives))
	return c.load(ctx, archives)
}

func (c *Cluster) load(ctx context.Context, archives []string) error {
	switch {
	case c.Name != "":
		return c.quiet(ctx, "go", append([]string{"run", "./test/cluster", "load", "--name", c.Name}, archives...)...)
	case c.Kind != "":
		for _, archive := range archives {
			if err := c.quiet(ctx, "kind", "load", "image-archive", archive, "--name", c.Kind); err != nil {
				return err
			}
		}
		return nil
	default:
		return fmt.Errorf("the images cannot be loaded into the cluster of KUBECONFIG: for a kind cluster set KIND_CLUSTER to its name (on %s/%s)", runtime.GOOS, runtime.GOARCH)
	}
}

// orNothing gives the linker a variable to set that no program has, when
// there is none to be set.
func orNothing(set string) string {
	if set == "" {
		return "main.unset="
	}
	return set
}

func (c *Cluster) say(format string, args ...any) {
	_, _ = fmt.Fprintf(c.Out, "  "+format+"\n", args...)
}
