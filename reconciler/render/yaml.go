package render

import (
	"bytes"
	"fmt"

	"sigs.k8s.io/yaml"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// YAML prints objects as `kustomize build` does.
func YAML(objects []reconciler.Object) ([]byte, error) {
	var out bytes.Buffer
	for i, object := range objects {
		text, err := yaml.Marshal(object.Object)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", describe(object), err)
		}
		if i > 0 {
			out.WriteString("---\n")
		}
		out.Write(text)
	}
	return out.Bytes(), nil
}
