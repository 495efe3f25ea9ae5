package render

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"sigs.k8s.io/kustomize/api/types"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// kustomization is a kustomization file that passed the scan.
type kustomization struct {
	path string
	types.Kustomization
}

// reference is a value of a kustomization file that kustomize opens.
type reference struct {
	field string
	value string
	// base is true where kustomize also takes a git address without scheme.
	base bool
}

// scan reads a kustomization file as kustomize does, and refuses what would
// lead out of the commit. kustomize fetches addresses from eight fields
// without being asked to.
func (f *fileSystem) scan(e entry) error {
	folder := path.Dir(e.path)
	if known := f.kustomizations[folder]; known != nil && known.path == e.path {
		return nil
	}
	k := &kustomization{path: e.path}
	if err := k.Unmarshal(e.content); err != nil {
		return undecodable(e.path, err)
	}
	if err := refuseHelm(k); err != nil {
		return err
	}
	for _, r := range references(&k.Kustomization) {
		if err := k.check(r); err != nil {
			return err
		}
	}
	k.FixKustomization()
	if k.CheckEmpty() != nil {
		return reconciler.Terminalf(ReasonFailed, "%s is empty: list at least one resource, component or generator", e.path)
	}
	if faults := k.EnforceFields(); len(faults) > 0 {
		return reconciler.Terminalf(ReasonFailed, "%s: %s", e.path, strings.Join(faults, "; "))
	}
	f.kustomizations[folder] = k
	return nil
}

func refuseHelm(k *kustomization) error {
	for field, used := range map[string]bool{
		"helmCharts":                  len(k.HelmCharts) > 0,
		"helmChartInflationGenerator": len(k.HelmChartInflationGenerator) > 0,
	} {
		if used {
			return reconciler.Terminalf(ReasonRefused, "%s: %s is refused: "+chartAdvice, k.path, field)
		}
	}
	return nil
}

// check refuses a reference that leads out of the commit.
func (k *kustomization) check(r reference) error {
	value := strings.TrimSpace(r.value)
	switch {
	case value == "" || strings.Contains(value, "\n"):
		// An inline document, not a path.
		return nil
	case remote(value) || r.base && remoteBase(value):
		return reconciler.Terminalf(ReasonRefused, "%s: %s: %q is an address: "+networkAdvice, k.path, r.field, r.value)
	case path.IsAbs(value):
		return reconciler.Terminalf(ReasonRefused, "%s: %s: %q is an absolute path: name files relative to the kustomization", k.path, r.field, r.value)
	case leaves(path.Dir(k.path), value):
		return reconciler.Terminalf(ReasonRefused, "%s: %s: %q leads out of the repository", k.path, r.field, r.value)
	}
	return nil
}

// leaves tells whether a relative path climbs above the root of the commit.
func leaves(folder, value string) bool {
	joined := path.Join(folder, value)
	return joined == ".." || strings.HasPrefix(joined, "../")
}

var (
	schemePattern = regexp.MustCompile(`(?i)^(git::|(https?|ssh|git|file|ftps?|oci|s3|gs|hg)(\+[a-z]+)?:)`)
	// githubPattern and userPattern are what kustomize takes for a git address
	// although no scheme is written.
	githubPattern = regexp.MustCompile(`(?i)^(git::)?([a-z][a-z0-9-]*@)?(www\.)?github\.com[/:]`)
	userPattern   = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9-]*@[^/]*[:/]`)
)

// remote tells whether kustomize, or git, takes a value for an address.
func remote(value string) bool {
	return strings.Contains(value, "://") || schemePattern.MatchString(value)
}

func remoteBase(value string) bool {
	return githubPattern.MatchString(value) || userPattern.MatchString(value)
}

// references lists all values of a kustomization that kustomize opens.
func references(k *types.Kustomization) []reference {
	var all []reference
	add := func(field string, base bool, values ...string) {
		for i, value := range values {
			all = append(all, reference{fmt.Sprintf("%s[%d]", field, i), value, base})
		}
	}
	add("resources", true, k.Resources...)
	add("bases", true, k.Bases...) //nolint:staticcheck // Old overlays have them.
	add("components", true, k.Components...)
	add("generators", true, k.Generators...)
	add("transformers", true, k.Transformers...)
	add("validators", true, k.Validators...)
	add("configurations", false, k.Configurations...)
	add("crds", false, k.Crds...)
	for i, patch := range k.PatchesStrategicMerge { //nolint:staticcheck // Old overlays have them.
		all = append(all, reference{fmt.Sprintf("patchesStrategicMerge[%d]", i), string(patch), false})
	}
	patches := func(field string, list []types.Patch) {
		for i, patch := range list {
			all = append(all, reference{fmt.Sprintf("%s[%d].path", field, i), patch.Path, false})
		}
	}
	patches("patches", k.Patches)
	patches("patchesJson6902", k.PatchesJson6902) //nolint:staticcheck // Old overlays have them.
	for i, replacement := range k.Replacements {
		all = append(all, reference{fmt.Sprintf("replacements[%d].path", i), replacement.Path, false})
	}
	if k.OpenAPI["path"] != "" {
		all = append(all, reference{"openapi.path", k.OpenAPI["path"], false})
	}
	for i, c := range k.ConfigMapGenerator {
		all = append(all, generatorReferences(fmt.Sprintf("configMapGenerator[%d]", i), c.KvPairSources)...)
	}
	for i, s := range k.SecretGenerator {
		all = append(all, generatorReferences(fmt.Sprintf("secretGenerator[%d]", i), s.KvPairSources)...)
	}
	return all
}

func generatorReferences(field string, sources types.KvPairSources) []reference {
	var all []reference
	for i, file := range sources.FileSources {
		name := fmt.Sprintf("%s.files[%d]", field, i)
		all = append(all, reference{name, file, false})
		if _, value, ok := strings.Cut(file, "="); ok {
			all = append(all, reference{name, value, false})
		}
	}
	for i, env := range sources.EnvSources {
		all = append(all, reference{fmt.Sprintf("%s.envs[%d]", field, i), env, false})
	}
	return append(all, reference{field + ".env", sources.EnvSource, false})
}
