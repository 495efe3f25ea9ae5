package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"golang.org/x/sync/errgroup"

	"github.com/lockstep-gitops/lockstep/test/bench/host"
)

// dataSize makes a ConfigMap about 500 bytes large.
const dataSize = 380

func configMaps() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
}

func configMapName(i int) string { return fmt.Sprintf("settings-%05d", i) }

// content of the ConfigMap with a number. The seed makes it differ from those
// of other repositories, so that nothing is known of it beforehand.
func content(seed string, i int) string { return host.Noise(fmt.Sprintf("%s %d", seed, i), dataSize) }

func configMapYAML(name, text string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\ndata:\n  text: %s\n", name, text)
}

// overlay adds the folder of an overlay to a commit, whose ConfigMaps are those
// numbered from first on, so many in a file.
func overlay(stream *host.Stream, folder, seed string, first, count, inFile int) {
	var list strings.Builder
	for at := first; at < first+count; at += inFile {
		var file []string
		for i := at; i < min(at+inFile, first+count); i++ {
			file = append(file, configMapYAML(configMapName(i), content(seed, i)))
		}
		name := configMapName(at) + ".yaml"
		stream.File(folder+"/"+name, strings.Join(file, "---\n"))
		list.WriteString("- " + name + "\n")
	}
	stream.File(folder+"/kustomization.yaml", "resources:\n"+list.String())
}

// bareLoop applies count ConfigMaps, spread over the namespaces, so many at a
// time, and throws the answers away.
func (w *world) bareLoop(ctx context.Context, namespaces []string, count, parallel int) (time.Duration, error) {
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	force := true
	began := time.Now()
	for i := range count {
		group.Go(func() error {
			object := &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "v1", "kind": "ConfigMap",
				"metadata": map[string]any{"name": configMapName(i)},
				"data":     map[string]any{"text": content("bare", i)},
			}}
			body, err := object.MarshalJSON()
			if err != nil {
				return err
			}
			_, err = w.client.Resource(configMaps()).Namespace(namespaces[i%len(namespaces)]).Patch(within,
				object.GetName(), types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: "bare", Force: &force})
			return err
		})
	}
	err := group.Wait()
	return time.Since(began), err
}
