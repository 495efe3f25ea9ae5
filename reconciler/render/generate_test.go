package render_test

import (
	"fmt"
	"strings"
)

// nested makes overlays that each build on the next. The innermost holds an object.
func nested(depth int) map[string]string {
	files := map[string]string{"o/kustomization.yaml": "resources: [../n0]\n"}
	for i := range depth {
		files[fmt.Sprintf("n%d/kustomization.yaml", i)] = fmt.Sprintf("resources: [../n%d]\n", i+1)
	}
	files[fmt.Sprintf("n%d/kustomization.yaml", depth)] = "resources: [a.yaml]\n"
	files[fmt.Sprintf("n%d/a.yaml", depth)] = configMap("a")
	return files
}

// aliases makes a document that grows by nine with each level.
func aliases(levels int) string {
	var out strings.Builder
	out.WriteString("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bomb}\na0: &a0 [x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i <= levels; i++ {
		alias := fmt.Sprintf("*a%d", i-1)
		fmt.Fprintf(&out, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(alias+",", 9), ","))
	}
	return out.String()
}

// doubling makes a JSON patch each step of which copies all data.
func doubling(steps int) string {
	var out strings.Builder
	for i := range steps {
		fmt.Fprintf(&out, "    - {op: copy, from: /data, path: /data/x%d}\n", i)
	}
	return out.String()
}

// configMaps makes an overlay of many objects, spread over files.
func configMaps(count, files int) map[string]string {
	out := map[string]string{}
	var list strings.Builder
	for f := range files {
		var all strings.Builder
		for i := range count / files {
			all.WriteString("---\n" + configMap(fmt.Sprintf("c%d", f*count/files+i)))
		}
		out[fmt.Sprintf("o/f%d.yaml", f)] = all.String()
		fmt.Fprintf(&list, "- f%d.yaml\n", f)
	}
	out["o/kustomization.yaml"] = "namespace: n1\nresources:\n" + list.String()
	return out
}
