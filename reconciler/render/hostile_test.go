package render_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler/render"
)

// S1: what a child cannot do even when everything above fails.
func TestConfinedProcessCanReachNothing(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reason: only Linux confines the child")
	}
	self, err := os.Executable()
	assert.NilError(t, err)
	out, err := exec.Command(self, render.ProbeArgument).CombinedOutput()
	assert.NilError(t, err, string(out))
	assert.Equal(t, string(out), "connect: shut\nkill a process: shut\nlist a folder: shut\nlisten: shut\n"+
		"make a folder: shut\nopen a file: shut\nrun a program: shut\nwrite a file: shut\n")
}

// R5, R6, section 0 item 1: no field of a kustomization leads to a request.
func TestNoFieldReachesTheNetwork(t *testing.T) {
	var hits atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer server.Close()
	url := server.URL + "/x.yaml"
	fields := map[string]string{
		"resources[0]":                   "resources: [URL]",
		"resources[1]":                   "resources: [a.yaml, URL]",
		"bases[0]":                       "bases: [URL]",
		"components[0]":                  "components: [URL]",
		"patches[0].path":                "patches: [{path: URL}]",
		"patchesStrategicMerge[0]":       "patchesStrategicMerge: [URL]",
		"patchesJson6902[0].path":        "patchesJson6902: [{path: URL, target: {version: v1, kind: ConfigMap, name: c}}]",
		"configMapGenerator[0].files[0]": "configMapGenerator: [{name: g, files: [URL]}]",
		"configMapGenerator[0].files[1]": "configMapGenerator: [{name: g, files: [a.yaml, 'key=URL']}]",
		"configMapGenerator[0].envs[0]":  "configMapGenerator: [{name: g, envs: [URL]}]",
		"configMapGenerator[0].env":      "configMapGenerator: [{name: g, env: URL}]",
		"secretGenerator[0].files[0]":    "secretGenerator: [{name: g, files: [URL]}]",
		"secretGenerator[0].envs[0]":     "secretGenerator: [{name: g, envs: [URL]}]",
		"openapi.path":                   "openapi: {path: URL}",
		"configurations[0]":              "configurations: [URL]",
		"crds[0]":                        "crds: [URL]",
		"transformers[0]":                "transformers: [URL]",
		"generators[0]":                  "generators: [URL]",
		"validators[0]":                  "validators: [URL]",
		"replacements[0].path":           "replacements: [{path: URL}]",
	}
	renderer := newRenderer()
	for field, text := range fields {
		for _, nested := range []bool{false, true} {
			file := "o/kustomization.yaml"
			files := map[string]string{"o/a.yaml": configMap("c"), "o/kustomization.yaml": "resources: [../base]\n", "base/a.yaml": configMap("c")}
			if nested {
				file = "base/kustomization.yaml"
			}
			content := strings.ReplaceAll(text, "URL", url) + "\n"
			if !strings.Contains(content, "resources:") {
				content += "resources: [a.yaml]\n"
			}
			files[file] = content
			_, err := renderer.Render(t.Context(), tree(files), "o")
			reason, message := failure(t, err)
			assert.Equal(t, reason, render.ReasonRefused, message)
			assert.Assert(t, strings.HasPrefix(message, file+": "+field+": "), "%s: %s", field, message)
			assert.Assert(t, strings.Contains(message, url), message)
		}
	}
	assert.Equal(t, hits.Load(), int32(0))
}

// R7: no git is run for a base, however it is named, and nothing is left in
// the folder for temporary files.
func TestNoGitIsRun(t *testing.T) {
	programs, temporary := t.TempDir(), t.TempDir()
	mark := filepath.Join(programs, "ran")
	assert.NilError(t, os.WriteFile(filepath.Join(programs, "git"), []byte("#!/bin/sh\ntouch "+mark+"\n"), 0o700)) //nolint:gosec // It is a program.
	t.Setenv("PATH", programs+":"+os.Getenv("PATH"))
	t.Setenv("TMPDIR", temporary)
	renderer := newRenderer()
	for _, base := range []string{"https://h/o/r", "git@github.com:o/r", "file:///etc", "h.example/o/r.git?ref=x", "h.example//o", "x.git", "_git/x", "./x.git//y", "ssh%3A//h/o"} {
		for _, field := range []string{"resources", "components", "generators", "transformers", "validators"} {
			_, err := renderer.Render(t.Context(), tree(map[string]string{
				"kustomization.yaml": fmt.Sprintf("resources: [a.yaml]\n%s: [%q]\n", field, base), "a.yaml": configMap("a")}), ".")
			failure(t, err)
		}
	}
	_, err := os.Stat(mark)
	assert.ErrorIs(t, err, os.ErrNotExist)
	left, err := os.ReadDir(temporary)
	assert.NilError(t, err)
	assert.Equal(t, len(left), 0, "left in the folder: %v", left)
}

// The addresses that kustomize recognises without a scheme, and those that git
// would.
func TestEveryKindOfAddressIsRefused(t *testing.T) {
	for _, address := range []string{
		"http://h/x", "HTTPS://h/x", "http:h/x", "ssh://git@h/o/r", "file:///etc", "git::https://h/o/r", "git::h/o/r",
		"git@github.com:o/r", "github.com/o/r", "GitHub.com/o/r", "github.com:o/r", "www.github.com/o/r",
		"user@host:o/r", "user@host/o/r.git", "org-1@host:path//sub?ref=x", "s3::https://h/x", "oci://h/x", "git+ssh://h/x",
	} {
		_, err := newRenderer().Render(t.Context(), tree(map[string]string{
			"kustomization.yaml": fmt.Sprintf("resources: [%q]\n", address)}), ".")
		reason, text := failure(t, err)
		assert.Equal(t, reason, render.ReasonRefused, address)
		assert.Assert(t, strings.Contains(text, "is an address"), text)
	}
}

// R1, R2, R3, R4: trees that try to read outside, to loop, or to exhaust.
func TestHostileTrees(t *testing.T) {
	for name, c := range hostileTrees() {
		t.Run(name, func(t *testing.T) {
			limits := render.Limits{Timeout: 30 * time.Second}
			renderer := start(render.Options{Limits: limits})
			began := time.Now()
			objects, err := renderer.Render(t.Context(), tree(c.files), "o")
			assert.Assert(t, time.Since(began) < 2*limits.Timeout)
			if c.want == "" {
				assert.NilError(t, err)
				return
			}
			assert.Assert(t, err != nil, "rendered %v", objects)
			_, text := failure(t, err)
			assert.Assert(t, strings.Contains(text, c.want), text)
			assert.Assert(t, !strings.Contains(text, "root:"), text)
		})
	}
}

type hostileTree struct {
	files map[string]string
	// want is a part of the error, empty where the tree is harmless.
	want string
}

func hostileTrees() map[string]hostileTree {
	one := func(kustomization string, more ...string) map[string]string {
		files := map[string]string{"o/kustomization.yaml": kustomization, "o/a.yaml": configMap("a"), "x/secret.yaml": configMap("x")}
		for i := 0; i+1 < len(more); i += 2 {
			files[more[i]] = more[i+1]
		}
		return files
	}
	return map[string]hostileTree{
		"base outside the repository":              {one("resources: [../../../../etc]"), "leads out of the repository"},
		"base outside, disguised":                  {one("resources: [a/../../../etc]"), "leads out of the repository"},
		"file outside the kustomization":           {one("resources: [../x/secret.yaml]"), "not in or below"},
		"file outside the repository":              {one("configMapGenerator: [{name: g, files: [../../../etc/passwd]}]"), "leads out of the repository"},
		"env file outside the repository":          {one("configMapGenerator: [{name: g, envs: [../../../etc/passwd]}]"), "leads out of the repository"},
		"absolute file":                            {one("configMapGenerator: [{name: g, files: [/etc/passwd]}]"), "absolute path"},
		"absolute file behind a key":               {one("configMapGenerator: [{name: g, files: [k=/etc/passwd]}]"), "absolute path"},
		"absolute base":                            {one("resources: [/etc]"), "absolute path"},
		"absolute schema":                          {one("resources: [a.yaml]\nopenapi: {path: /etc/passwd}"), "absolute path"},
		"absolute patch in a transformer file":     {one("resources: [a.yaml]\ntransformers: [t.yaml]", "o/t.yaml", "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: p}\npath: /etc/passwd\n"), "doesn't exist"},
		"address in a transformer file":            {one("resources: [a.yaml]\ntransformers: [t.yaml]", "o/t.yaml", "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: p}\npath: http://127.0.0.1:1/x\n"), "without network"},
		"address in an inline transformer":         {one("resources: [a.yaml]\ntransformers:\n- |-\n  apiVersion: builtin\n  kind: PatchTransformer\n  metadata: {name: p}\n  path: http://127.0.0.1:1/x\n"), "without network"},
		"address in a generator file":              {one("generators: [t.yaml]", "o/t.yaml", "apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: p}\nname: p\nfiles: ['http://127.0.0.1:1/x']\n"), "without network"},
		"link to the environment":                  {one("resources: [l.yaml]", "o/l.yaml@", "/proc/self/environ"), "outside the repository"},
		"link that climbs":                         {one("resources: [l.yaml]", "o/l.yaml@", "../../../etc/passwd"), "outside the repository"},
		"link to a link that climbs":               {one("resources: [l.yaml]", "o/l.yaml@", "m.yaml", "o/m.yaml@", "../../etc/passwd"), "outside the repository"},
		"link to a folder outside":                 {one("resources: [l]", "o/l@", "/"), "outside the repository"},
		"folder below a link outside":              {one("resources: [l/etc]", "o/l@", "../.."), "outside the repository"},
		"link to a file of another folder":         {one("resources: [l.yaml]", "o/l.yaml@", "../x/secret.yaml"), "not in or below"},
		"link to a file beside":                    {one("resources: [l.yaml]", "o/l.yaml@", "a.yaml"), ""},
		"link to a base":                           {one("resources: [l]", "o/l@", "../base", "base/kustomization.yaml", "resources: [b.yaml]", "base/b.yaml", configMap("b")), ""},
		"link to itself":                           {one("resources: [l.yaml]", "o/l.yaml@", "l.yaml"), "more than 40"},
		"links in a circle":                        {one("resources: [l.yaml]", "o/l.yaml@", "m.yaml", "o/m.yaml@", "l.yaml"), "more than 40"},
		"link to the folder above":                 {one("resources: [l]", "o/l@", ".."), "cycle detected"},
		"link back to the overlay":                 {one("resources: [l]", "o/l@", "../o"), "cycle detected"},
		"kustomization that is a link outside":     {map[string]string{"o/kustomization.yaml@": "/etc/passwd"}, "outside the repository"},
		"base of itself":                           {one("resources: [.]"), "cycle detected"},
		"base above":                               {one("resources: [..]", "kustomization.yaml", "resources: [o]"), "cycle detected"},
		"bases in a circle":                        {one("resources: [../p]", "p/kustomization.yaml", "resources: [../q]", "q/kustomization.yaml", "resources: [../o]"), "cycle detected"},
		"components in a circle":                   {one("components: [../p]", "p/kustomization.yaml", "kind: Component\ncomponents: [../q]", "q/kustomization.yaml", "kind: Component\ncomponents: [../p]"), "cycle detected"},
		"1000 nested overlays":                     {nested(1000), ""},
		"aliases that multiply":                    {one("resources: [bomb.yaml]", "o/bomb.yaml", aliases(9)), "the limit of"},
		"aliases that multiply in a kustomization": {one(aliases(9)), "excessive aliasing"},
		"brackets without end":                     {one("resources: [b.yaml]", "o/b.yaml", configMap("b")+"x: "+strings.Repeat("[", 100_000)), "max depth"},
		"mappings without end":                     {one("resources: [b.yaml]", "o/b.yaml", configMap("b")+"x: "+strings.Repeat("{a: ", 100_000)), "max depth"},
		"a patch that doubles":                     {one("resources: [a.yaml]\npatches:\n- target: {kind: ConfigMap}\n  patch: |-\n" + doubling(40)), "the limit of"},
		"a schema that is no schema":               {one("resources: [a.yaml]\nopenapi: {path: s.json}\npatches: [{patch: '{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {x: y}}'}]", "o/s.json", "[]"), "schema"},
		"a file name with a zero byte":             {one("resources: [\"a\\0.yaml\"]"), "is missing"},
		"a name without end":                       {one("resources: [" + strings.Repeat("x", 5000) + "]"), "is not a path in the repository"},
		"a resource that is a number":              {one("resources: [1]"), "cannot unmarshal number"},
		"a resource that is nothing":               {one("resources: ['']"), "empty"},
		"a kustomization that is a list":           {one("- a\n- b\n"), "cannot unmarshal array"},
		"a kustomization that is binary":           {one("\x00\x01\x02\xff"), "kustomization.yaml"},
	}
}
