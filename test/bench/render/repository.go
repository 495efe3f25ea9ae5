package main

import (
	"fmt"
	"strings"

	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo/gitrepotest"
)

// repository is where a repository can be fetched from and where it is.
type repository struct{ url, path string }

func placed(origin *gitrepotest.Repo) repository { return repository{origin.URL, origin.Path} }

func configMap(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\ndata:\n  a: %q\n", name, value)
}

// configMaps are the files of an overlay in the folder o that holds count
// objects.
func configMaps(count, files int) map[string]string {
	out := map[string]string{}
	var list strings.Builder
	for f := range files {
		var all strings.Builder
		for i := range count / files {
			all.WriteString("---\n" + configMap(fmt.Sprintf("c%d", f*count/files+i), "b"))
		}
		out[fmt.Sprintf("o/f%d.yaml", f)] = all.String()
		fmt.Fprintf(&list, "- f%d.yaml\n", f)
	}
	out["o/kustomization.yaml"] = "namespace: n1\nresources:\n" + list.String()
	return out
}
