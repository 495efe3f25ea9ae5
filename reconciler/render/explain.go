package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/resid"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

var (
	twicePattern    = regexp.MustCompile(`already registered id: ([^\s']+)`)
	conflictPattern = regexp.MustCompile(`namespace transformation produces ID conflict: \[`)
	pluginPattern   = regexp.MustCompile(`external plugins disabled; unable to load external plugin '([^']*)'`)
	// booleanPattern is how Go's JSON decoder complains about a word that YAML
	// 1.1 takes for a truth value.
	booleanPattern = regexp.MustCompile(`cannot unmarshal bool into Go struct field [^.\s]+\.(\S+)`)
	severalPattern = regexp.MustCompile(`Found multiple kustomization files under: /?(\S*)`)
	// detourPattern is what kustomize adds about a file that is bad because it
	// also tried the file as a folder.
	detourPattern = regexp.MustCompile(`accumulation err='(.*)': must build at directory: '[^']*': file is not directory`)
)

const (
	chartAdvice   = "inflating a chart runs helm and downloads: commit the output of `helm template` and list that file under resources"
	networkAdvice = "a commit is rendered without network: copy the file into the repository and name it by its path"
	booleanAdvice = "y, n, yes, no, on and off are truth values in YAML: put the value in quotes"
)

// explain turns an error of kustomize into a verdict, and adds what kustomize
// leaves out: which files, and what to do.
func explain(folder string, err error, found *origins) error {
	full := err.Error()
	text := plain(full)
	if hint := found.missing(full); hint != "" {
		return reconciler.Terminalf(ReasonFailed, "%s", hint)
	}
	if match := severalPattern.FindStringSubmatch(full); match != nil {
		return reconciler.Terminalf(ReasonFailed, "folder %s holds several kustomization files: keep one of them", relative(match[1]))
	}
	reason, hint := ReasonFailed, ""
	switch match := pluginPattern.FindStringSubmatch(full); {
	case match != nil:
		reason = ReasonRefused
		hint = found.plugin(match[1]) + " would run a program or a container: commit what it makes and list that file under resources"
	case strings.Contains(full, "must specify --enable-helm"):
		reason, hint = ReasonRefused, chartAdvice
	case strings.Contains(full, errNoNetwork.Error()):
		reason, hint = ReasonRefused, networkAdvice
	default:
		hint = found.twice(full)
	}
	if hint != "" {
		text = hint + ": " + text
	}
	return reconciler.Terminalf(reason, "overlay %s: %s", folder, text)
}

// plain makes kustomize's text fit for a status: no paths below our made-up
// root, no dumps of objects, one line.
func plain(text string) string {
	text = flat(withoutDumps(strings.NewReplacer("'/'", "'.'", "'/", "'").Replace(text)))
	for {
		shorter := detourPattern.ReplaceAllString(text, "$1")
		if shorter == text {
			return text
		}
		text = shorter
	}
}

// undecodable explains why a kustomization file does not decode.
func undecodable(file string, err error) error {
	text := plain(err.Error())
	if match := booleanPattern.FindStringSubmatch(text); match != nil {
		text = match[1] + ": " + booleanAdvice + ": " + text
	}
	return reconciler.Terminalf(ReasonFailed, "%s: %s", file, text)
}

// missing names the first reference to a file that is not there.
func (o *origins) missing(text string) string {
	if !strings.Contains(text, noSuchFile) {
		return ""
	}
	for _, k := range o.sorted() {
		for _, r := range references(&k.Kustomization) {
			name := relative(path.Join(path.Dir(k.path), r.value))
			if e, ok := o.files.seen[name]; ok && e.kind == entryAbsent && !strings.Contains(r.value, "\n") && r.value != "" {
				return fmt.Sprintf("%s: %s: %s is missing at this commit", k.path, r.field, name)
			}
		}
	}
	return ""
}

// plugin names the file that configures a plugin of some kind.
func (o *origins) plugin(kind string) string {
	for _, k := range o.sorted() {
		for _, value := range slices.Concat(k.Generators, k.Transformers, k.Validators) {
			e, ok := o.files.seen[relative(path.Join(path.Dir(k.path), value))]
			if ok && bytes.Contains(e.content, []byte("kind: "+kind)) {
				return e.path + ": " + kind
			}
		}
	}
	return kind
}

// twice names the files that define one object twice (R10).
func (o *origins) twice(text string) string {
	var files []string
	if match := twicePattern.FindStringSubmatch(text); match != nil && strings.Contains(match[1], "/") {
		files = o.of[identityOf(resid.FromString(match[1]))]
	}
	if at := conflictPattern.FindStringIndex(text); at != nil {
		files = o.conflicting(text[at[1]:])
	}
	if len(files) == 0 {
		return ""
	}
	return "the same object stands in " + strings.Join(files, " and in ")
}

// conflicting reads the objects that kustomize dumps when a namespace makes
// two of them the same.
func (o *origins) conflicting(dump string) []string {
	decoder := json.NewDecoder(strings.NewReader(dump))
	var files []string
	for {
		var dumped struct {
			APIVersion, Kind string
			Metadata         struct{ Annotations map[string]string }
		}
		if decoder.Decode(&dumped) != nil {
			return files
		}
		first := func(name string) string {
			value, _, _ := strings.Cut(dumped.Metadata.Annotations[previousPrefix+name], ",")
			return value
		}
		group, version := resid.ParseGroupVersion(dumped.APIVersion)
		id := resid.NewResIdWithNamespace(resid.NewGvk(group, version, dumped.Kind), first("Names"), first("Namespaces"))
		files = append(files, o.of[identityOf(id)]...)
	}
}

// sorted lists the kustomizations seen by path, for errors that do not change.
func (o *origins) sorted() []*kustomization {
	var all []*kustomization
	for _, folder := range slices.Sorted(maps.Keys(o.files.kustomizations)) {
		all = append(all, o.files.kustomizations[folder])
	}
	return all
}
