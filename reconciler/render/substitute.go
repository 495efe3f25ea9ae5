package render

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// SubstituteAnnotation keeps an object out of substitution when it is
// "disabled". The one that Flux reads is honoured as well.
const SubstituteAnnotation = "lockstep.dev/substitute"

const fluxSubstituteAnnotation = "kustomize.toolkit.fluxcd.io/substitute"

// ReasonSubstitution is an object that asks for a variable that is not set,
// or in a way that is not understood.
const ReasonSubstitution = "SubstitutionFailed"

// Substitute puts variables into objects, as Flux users know it:
//
//	${VAR}            the value of VAR, which must be set
//	${VAR:=default}   the value, or default when VAR is not set or empty
//	${VAR:-default}   the same
//	$${VAR}           the text ${VAR}
//
// It applies to keys and to values. A value that is one variable and nothing
// else becomes what its text means in YAML, so that `replicas: ${N}` is a
// number; where Kubernetes wants text, as in labels, data and environment
// variables, it stays text. Values are not searched again. The given objects
// are left alone; the error names each variable with its object and file.
func Substitute(objects []reconciler.Object, vars map[string]string) ([]reconciler.Object, error) {
	out := make([]reconciler.Object, len(objects))
	var errs []error
	for i, object := range objects {
		out[i] = object
		if disabled(object) || !mentions(object.Object) {
			continue
		}
		s := substitution{vars: vars}
		value := s.value(object.Object, nil)
		if len(s.errs) > 0 {
			errs = append(errs, fmt.Errorf("%s: %w", describe(object), errors.Join(s.errs...)))
			continue
		}
		out[i].Unstructured = &unstructured.Unstructured{Object: value.(map[string]any)}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, reconciler.Terminal(ReasonSubstitution, err)
	}
	return out, nil
}

func disabled(object reconciler.Object) bool {
	annotations, labels := object.GetAnnotations(), object.GetLabels()
	for _, key := range []string{SubstituteAnnotation, fluxSubstituteAnnotation} {
		if annotations[key] == "disabled" || labels[key] == "disabled" {
			return true
		}
	}
	return false
}

// mentions tells whether anything in a value could be substituted.
func mentions(value any) bool {
	switch value := value.(type) {
	case string:
		return strings.Contains(value, "${")
	case []any:
		return slices.ContainsFunc(value, mentions)
	case map[string]any:
		for key, child := range value {
			if mentions(key) || mentions(child) {
				return true
			}
		}
	}
	return false
}

// substitution is one object on its way.
type substitution struct {
	vars map[string]string
	errs []error
}

// value returns a copy of a value at a path with variables put in.
func (s *substitution) value(value any, path []string) any {
	switch value := value.(type) {
	case string:
		return s.scalar(value, path)
	case []any:
		list := make([]any, len(value))
		for i, child := range value {
			list[i] = s.value(child, append(path, strconv.Itoa(i)))
		}
		return list
	case map[string]any:
		return s.mapping(value, path)
	}
	return value
}

func (s *substitution) mapping(value map[string]any, path []string) any {
	out := make(map[string]any, len(value))
	for _, key := range slices.Sorted(maps.Keys(value)) {
		name := s.text(key, append(path, key))
		if _, twice := out[name]; twice {
			s.fail(path, fmt.Errorf("key %q stands twice once variables are put in", name))
		}
		out[name] = s.value(value[key], append(path, key))
	}
	return out
}

func (s *substitution) scalar(value string, path []string) any {
	text := s.text(value, path)
	if !single(value) {
		return text
	}
	meant, ok := meaning(text)
	if _, isText := meant.(string); !ok || !isText && wantsText(path) {
		return text
	}
	return meant
}

func (s *substitution) text(value string, path []string) string {
	if !strings.Contains(value, "${") {
		return value
	}
	text, err := expand(value, s.vars, 0)
	if err != nil {
		s.fail(path, err)
	}
	return text
}

func (s *substitution) fail(path []string, err error) {
	s.errs = append(s.errs, fmt.Errorf("%s: %w", strings.Join(path, "."), err))
}

// meaning is what a text is in YAML.
func meaning(text string) (any, bool) {
	if strings.ContainsAny(text, "\r\n") {
		return text, true
	}
	encoded, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return nil, false
	}
	var value any
	if err := json.Unmarshal(encoded, &value); err != nil {
		return nil, false
	}
	return value, true
}

// wantsText tells whether the API takes only text at a path.
func wantsText(path []string) bool {
	parent := func(n int) string {
		if len(path) > n {
			return path[len(path)-1-n]
		}
		return ""
	}
	switch {
	case slices.Contains([]string{"labels", "annotations", "matchLabels", "nodeSelector"}, parent(1)):
		return true
	case len(path) == 2 && slices.Contains([]string{"data", "stringData", "binaryData"}, path[0]):
		return true
	case slices.Contains([]string{"args", "command"}, parent(1)):
		return true
	}
	return parent(0) == "value" && parent(2) == "env"
}
