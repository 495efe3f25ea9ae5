package render_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/golden"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/kustomize/kyaml/openapi"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/render"
)

// TestBuildEqualsKustomize compares our output with that of kustomize, byte
// for byte, for every tree that kustomize's own tests build. The module ships
// no folder of examples; its tests are the richest set of overlays there is.
// What is left out, and why, is in testdata/left-out.golden.
func TestBuildEqualsKustomize(t *testing.T) {
	corpus := readCorpus(t)
	renderer := newRenderer()
	equal, failed, divided := 0, 0, 0
	left := corpus.left
	for _, c := range corpus.cases {
		want, wantErr := plainBuild(c.files, c.folder)
		folder := strings.TrimPrefix(path.Clean("/"+c.folder), "/")
		got, gotErr := renderer.Build(t.Context(), c.tree(), folder)
		if render.Pieces(c.tree(), path.Clean(folder)) > 0 {
			divided++
			fine, fineErr := render.BuildFinely(c.tree(), path.Clean(folder))
			assert.Equal(t, fineErr == nil, gotErr == nil, "%s in pieces: %v, as a whole: %v", c.name, fineErr, gotErr)
			assert.Equal(t, string(fine), string(got), "%s in pieces", c.name)
		}
		switch {
		case wantErr == nil && gotErr == nil:
			assert.Equal(t, string(got), string(want), c.name)
			equal++
		case wantErr != nil && gotErr != nil:
			assert.Assert(t, reconciler.IsTerminal(gotErr), "%s: %v", c.name, gotErr)
			failed++
		case wantErr != nil:
			t.Errorf("%s: kustomize says %v, we render", c.name, wantErr)
		default:
			left = append(left, fmt.Sprintf("%s: %s", c.name, strings.SplitN(gotErr.Error(), "\n", 2)[0]))
		}
	}
	t.Logf("%d outputs equal, %d errors in both, %d left out, %d built in pieces", equal, failed, len(left), divided)
	assert.Assert(t, divided >= 5, "only %d cases were built in pieces", divided)
	assert.Assert(t, equal >= 230, "only %d cases were found", equal)
	sort.Strings(left)
	t.Logf("left out:\n%s", strings.Join(left, "\n"))
	golden.Assert(t, strings.Join(left, "\n")+"\n", "left-out.golden")
}

// plainBuild is `kustomize build` of the same files.
func plainBuild(files map[string]string, folder string) (out []byte, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v", cause)
		}
	}()
	memory := filesys.MakeFsInMemory()
	for name, content := range files {
		if err := memory.WriteFile("/"+name, []byte(content)); err != nil {
			return nil, err
		}
	}
	openapi.ResetOpenAPI()
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionLegacy // The default of the command line.
	objects, err := krusty.MakeKustomizer(options).Run(memory, path.Join("/", folder))
	if err != nil {
		return nil, err
	}
	if objects.Size() == 0 {
		return nil, fmt.Errorf("no objects")
	}
	return objects.AsYaml()
}

type corpusCase struct {
	name   string
	folder string
	files  map[string]string
}

func (c corpusCase) tree() fstest.MapFS { return tree(c.files) }

type corpus struct {
	folder string
	cases  []corpusCase
	left   []string
	// functions and constants of the test package.
	functions map[string]*ast.FuncDecl
	constants map[string]string
}

// readCorpus runs through the tests of krusty in the module cache, as far as
// they write files whose content is a literal and build them.
func readCorpus(t *testing.T) *corpus {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kustomize/api").Output()
	assert.NilError(t, err)
	folder := filepath.Join(string(bytes.TrimSpace(out)), "krusty")
	names, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	assert.NilError(t, err)
	c := &corpus{folder: folder, functions: map[string]*ast.FuncDecl{}, constants: map[string]string{}}
	var tests []string
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		assert.NilError(t, err)
		for _, decl := range file.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				c.functions[decl.Name.Name] = decl
				if strings.HasPrefix(decl.Name.Name, "Test") {
					tests = append(tests, decl.Name.Name)
				}
			case *ast.GenDecl:
				c.declare(decl, c.constants)
			}
		}
	}
	for _, name := range tests {
		(&testRun{corpus: c, name: name, files: map[string]string{}}).start()
	}
	return c
}

func (c *corpus) declare(decl *ast.GenDecl, scope map[string]string) {
	for _, spec := range decl.Specs {
		if spec, ok := spec.(*ast.ValueSpec); ok {
			for i, value := range spec.Values {
				if text, ok := evaluate(value, scope); ok {
					scope[spec.Names[i].Name] = text
				}
			}
		}
	}
}

// testRun is one test function that is run through.
type testRun struct {
	corpus *corpus
	name   string
	files  map[string]string
	builds int
	opaque string
}

func (r *testRun) start() {
	scope := map[string]string{}
	maps.Copy(scope, r.corpus.constants)
	r.block(r.corpus.functions[r.name].Body, scope)
	if r.builds == 0 {
		r.corpus.left = append(r.corpus.left, r.name+": "+r.reason())
	}
}

// reason says why a test function gave no case.
func (r *testRun) reason() string {
	for part, reason := range map[string]string{
		"Helm": "inflates a chart, which is refused", "Remote": "needs the network, which is refused",
		"FnContainer": "runs a container, which is refused", "FnExec": "runs a program, which is refused",
		"Exec": "runs a program, which is refused", "Plugin": "runs a plugin, which is refused",
	} {
		if strings.Contains(r.name, part) {
			return reason
		}
	}
	if r.opaque == "" {
		return "builds nothing from literal files"
	}
	return r.opaque
}

func (r *testRun) block(block *ast.BlockStmt, scope map[string]string) {
	ast.Inspect(block, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.RangeStmt, *ast.ForStmt, *ast.CompositeLit:
			r.opaque = "its files are in a table"
			return false
		case *ast.GenDecl:
			r.corpus.declare(node, scope)
		case *ast.AssignStmt:
			r.assign(node, scope)
		case *ast.CallExpr:
			return r.call(node, scope)
		}
		return true
	})
}

func (r *testRun) assign(node *ast.AssignStmt, scope map[string]string) {
	if call, ok := node.Rhs[0].(*ast.CallExpr); ok && len(node.Lhs) == 2 {
		// The content of a file beside the tests.
		if selector, ok := call.Fun.(*ast.SelectorExpr); ok && selector.Sel.Name == "ReadFile" {
			name, _ := evaluate(call.Args[0], scope)
			content, err := os.ReadFile(filepath.Join(r.corpus.folder, name))
			if variable, ok := node.Lhs[0].(*ast.Ident); ok && err == nil {
				scope[variable.Name] = string(content)
			}
		}
	}
	for i, left := range node.Lhs {
		if name, ok := left.(*ast.Ident); ok && len(node.Lhs) == len(node.Rhs) {
			if text, ok := evaluate(node.Rhs[i], scope); ok {
				scope[name.Name] = text
			}
		}
	}
}

func (r *testRun) call(node *ast.CallExpr, scope map[string]string) bool {
	switch called := node.Fun.(type) {
	case *ast.SelectorExpr:
		return r.method(called.Sel.Name, node.Args, scope)
	case *ast.Ident:
		function := r.corpus.functions[called.Name]
		if function == nil || called.Name == r.name {
			return true
		}
		inner := map[string]string{}
		maps.Copy(inner, scope)
		i := 0
		for _, field := range function.Type.Params.List {
			for _, name := range field.Names {
				if text, ok := evaluate(node.Args[min(i, len(node.Args)-1)], scope); ok {
					inner[name.Name] = text
				}
				i++
			}
		}
		r.block(function.Body, inner)
	}
	return true
}

func (r *testRun) method(name string, args []ast.Expr, scope map[string]string) bool {
	headers := map[string]string{
		"WriteF": "",
		"WriteK": "\napiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n",
		"WriteC": "\napiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n",
	}
	header, writes := headers[name]
	switch {
	case writes && len(args) == 2:
		file, ok1 := evaluate(args[0], scope)
		content, ok2 := evaluate(args[1], scope)
		if !ok1 || !ok2 {
			r.opaque = "its files are computed"
			return true
		}
		if name != "WriteF" {
			file = path.Join(file, "kustomization.yaml")
		}
		r.files[strings.TrimPrefix(path.Clean("/"+file), "/")] = header + content
	case (name == "Run" || name == "RunWithErr") && len(args) == 2:
		folder, ok := evaluate(args[0], scope)
		if !ok || r.opaque != "" || len(r.files) == 0 {
			return true
		}
		r.builds++
		c := corpusCase{name: fmt.Sprintf("%s/%d", r.name, r.builds), folder: folder, files: map[string]string{}}
		maps.Copy(c.files, r.files)
		r.corpus.cases = append(r.corpus.cases, c)
	}
	return true
}

// evaluate gives the value of a literal, of a name in scope, or of a sum.
func evaluate(expr ast.Expr, scope map[string]string) (string, bool) {
	switch expr := expr.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(expr.Value)
		return text, err == nil && expr.Kind == token.STRING
	case *ast.Ident:
		text, ok := scope[expr.Name]
		return text, ok
	case *ast.CallExpr:
		if name, ok := expr.Fun.(*ast.Ident); ok && name.Name == "string" {
			return evaluate(expr.Args[0], scope)
		}
	case *ast.ParenExpr:
		return evaluate(expr.X, scope)
	case *ast.BinaryExpr:
		left, ok1 := evaluate(expr.X, scope)
		right, ok2 := evaluate(expr.Y, scope)
		return left + right, ok1 && ok2 && expr.Op == token.ADD
	}
	return "", false
}
