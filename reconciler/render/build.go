package render

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/kustomize/kyaml/openapi"
	"sigs.k8s.io/kustomize/kyaml/resid"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// Reasons of render errors.
const (
	// ReasonFailed is a build that kustomize, or YAML, does not accept.
	ReasonFailed = "RenderFailed"
	// ReasonRefused is content that is never rendered: addresses, plugins,
	// charts, links that lead outside.
	ReasonRefused = "RenderRefused"
	// ReasonEmpty is a build without any object.
	ReasonEmpty = "RenderEmpty"
	// ReasonMissing is an overlay that does not exist in the commit.
	ReasonMissing = "OverlayMissing"
	// ReasonExpensive is a build that hit a limit.
	ReasonExpensive = "RenderTooExpensive"
)

// object is a rendered object on its way to the parent.
type object struct {
	origin string
	json   []byte
}

// building serialises builds. krusty keeps the OpenAPI schema of a build in
// package variables, so that two builds at a time are a race.
var building sync.Mutex //nolint:gochecknoglobals // guards globals of another module

// previousPrefix is how the annotations start in which kustomize keeps what an
// object was called before it was renamed.
const previousPrefix = "internal.config.kubernetes.io/previous"

// build renders the kustomization in folder and hands each object to emit, in
// the order and with the content of `kustomize build`. What is built apart is
// up to the grain and must not be seen in the result.
func build(files *fileSystem, folder string, limits Limits, g grain, emit func(object) error) (err error) {
	building.Lock()
	defer building.Unlock()
	defer func() {
		if cause := recover(); cause != nil {
			err = reconciler.Terminalf(ReasonFailed, "overlay %s: kustomize panicked: %s", folder, flat(fmt.Sprint(cause)))
		}
	}()
	if err := present(files, folder); err != nil {
		return err
	}
	openapi.ResetOpenAPI()
	items, err := assemble(files, folder, limits, g)
	if files.refusal != nil {
		return files.refusal
	}
	found := newOrigins(files, files.look(folder).path)
	if reconciler.IsTerminal(err) {
		return err
	}
	if err != nil {
		return explain(folder, err, found)
	}
	if len(items) == 0 {
		return reconciler.Terminalf(ReasonEmpty, "overlay %s renders to no objects at all: look for empty lists and for items that are null", folder)
	}
	if len(items) > limits.Objects {
		return reconciler.Terminalf(ReasonExpensive, "overlay %s renders to %d objects; the limit is %d", folder, len(items), limits.Objects)
	}
	found.assign(items)
	if err := arrange(items, files.kustomizations[files.look(folder).path]); err != nil {
		return err
	}
	return hand(items, emit)
}

// present makes a folder that is gone an error of its own (R14).
func present(files *fileSystem, folder string) error {
	switch files.look(folder).kind {
	case entryDirectory:
		return nil
	case entryRefused:
		return files.refusal
	case entryFile:
		return reconciler.Terminalf(ReasonMissing, "overlay %s is a file at this commit: name the folder that holds kustomization.yaml", folder)
	case entryAbsent:
	}
	return reconciler.Terminalf(ReasonMissing, "overlay %s is missing at this commit", folder)
}

// item is an object as kustomize built it.
type item struct {
	// id is what it is called, was what it was called in its file.
	id  resid.ResId
	was identity
	// origin is that file, empty when it cannot be known.
	origin string
	// json is its content, or nil and a fault.
	json  []byte
	fault error
}

// batch is one or several builds that share a limit on the size of what they
// make, in bytes.
type batch struct {
	limit, total int64
}

// run builds without sorting, so that the order in which kustomize
// accumulated the objects tells objects of the same name apart.
func (b *batch) run(files filesys.FileSystem, folder string) ([]*item, error) {
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionNone
	options.LoadRestrictions = types.LoadRestrictionsRootOnly
	options.PluginConfig = types.DisabledPluginConfig()
	objects, err := keepPrevious(func() (resmap.ResMap, error) {
		return krusty.MakeKustomizer(options).Run(files, absolute(relative(folder)))
	})
	if err != nil {
		return nil, err
	}
	built := objects.Resources()
	items := make([]*item, len(built))
	for i, r := range built {
		items[i] = &item{id: r.CurId(), was: identityOf(r.OrgId())}
	}
	objects.RemoveBuildAnnotations()
	for i, r := range built {
		// This is part of the build: a key that stands twice in a mapping
		// passes everything before (R11).
		items[i].json, items[i].fault = r.MarshalJSON()
		if err := b.count(items[i : i+1]); err != nil {
			return nil, err
		}
	}
	return items, nil
}

// count adds items to what was made.
func (b *batch) count(items []*item) error {
	for _, i := range items {
		if b.total += int64(len(i.json)); b.total > b.limit {
			return reconciler.Terminalf(ReasonExpensive, "the objects add up to more than the limit of %d bytes; %s was the last", b.limit, i)
		}
	}
	return nil
}

// keepPrevious runs a build whose objects still know what they were called in
// their files. Nothing else changes: these annotations are only ever handed
// from an object to its successor, on the list or not.
func keepPrevious(run func() (resmap.ResMap, error)) (resmap.ResMap, error) {
	all := resource.BuildAnnotations
	defer func() { resource.BuildAnnotations = all }()
	resource.BuildAnnotations = slices.DeleteFunc(slices.Clone(all), func(key string) bool {
		return strings.HasPrefix(key, previousPrefix)
	})
	return run()
}

// hand gives objects to emit.
func hand(items []*item, emit func(object) error) error {
	for _, i := range items {
		if i.fault != nil {
			return reconciler.Terminalf(ReasonFailed, "%s: %s", i, flat(i.fault.Error()))
		}
		if err := emit(object{origin: i.origin, json: i.json}); err != nil {
			return err
		}
	}
	return nil
}

// String names an object and its file in errors.
func (i *item) String() string {
	name := i.id.Kind + " " + i.id.Name
	if i.id.Namespace != "" {
		name = i.id.Kind + " " + i.id.Namespace + "/" + i.id.Name
	}
	return labelled(i.origin, name)
}
