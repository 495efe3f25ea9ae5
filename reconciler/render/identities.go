package render

import (
	"bytes"
	"fmt"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/kio"
	"sigs.k8s.io/kustomize/kyaml/resid"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// passage is a part of a file and the objects in it.
type passage struct {
	ids []identity
	// text is one document with the separator after it, if any, or the whole
	// file where documents were not told apart.
	text []byte
}

// passages lists the objects in a file. Ordinary files are read by lines,
// since parsing all of them a second time would cost a tenth of a render;
// anything unusual is parsed.
func passages(content []byte) []passage {
	if parts, ok := skim(content); ok {
		return parts
	}
	// A file that cannot be parsed has no objects; kustomize says why.
	ids, _ := parse(content)
	return []passage{{ids: ids, text: content}}
}

// skim reads block-style documents by their lines. It gives up, rather than
// guess, on everything it does not know.
func skim(content []byte) ([]passage, bool) {
	var parts []passage
	doc := &document{scalarAt: -1}
	start, at := 0, 0
	end := func(at int) bool {
		if doc.empty() {
			return true
		}
		if !doc.complete() {
			return false
		}
		parts = append(parts, passage{ids: []identity{doc.identity()}, text: content[start:at]})
		doc = &document{scalarAt: -1}
		return true
	}
	for line := range bytes.Lines(content) {
		text := strings.TrimRight(string(line), " \t\r\n")
		at += len(line)
		if text == "---" || strings.HasPrefix(text, "--- #") {
			if !end(at) {
				return nil, false
			}
			start = at
		} else if !doc.line(text) {
			return nil, false
		}
	}
	return parts, end(at)
}

// document is what skim knows of a document so far.
type document struct {
	values map[string]string
	// inMetadata is true below the key metadata, whose first child was
	// indented by indent.
	inMetadata bool
	indent     int
	// scalarAt is the indentation of the value on the line before, if that was
	// kept, or -1. A deeper line would belong to it.
	scalarAt int
}

func (d *document) empty() bool { return len(d.values) == 0 }

func (d *document) complete() bool {
	kind := d.values["kind"]
	return kind != "" && !strings.HasSuffix(kind, "List") && d.values["name"] != "" && d.values["apiVersion"] != ""
}

func (d *document) identity() identity {
	group, version := resid.ParseGroupVersion(d.values["apiVersion"])
	gvk := resid.NewGvk(group, version, d.values["kind"])
	return identityOf(resid.NewResIdWithNamespace(gvk, d.values["name"], d.values["namespace"]))
}

// line takes in a line without its end. False means that it is not understood.
func (d *document) line(text string) bool {
	body := strings.TrimLeft(text, " ")
	indent := len(text) - len(body)
	if body == "" || body[0] == '#' {
		return true
	}
	if d.scalarAt >= 0 && indent > d.scalarAt {
		return false
	}
	d.scalarAt = -1
	if indent > 0 {
		return !d.empty() && d.nested(body, indent)
	}
	key, value, ok := cut(body)
	if !ok {
		return body[0] == '-'
	}
	d.inMetadata = key == "metadata"
	d.indent = 0
	switch key {
	case "metadata":
		return value == ""
	case "kind", "apiVersion":
		return d.set(key, value, indent)
	}
	d.note()
	return true
}

// nested takes in an indented line, of which only the direct children of
// metadata matter.
func (d *document) nested(body string, indent int) bool {
	if !d.inMetadata {
		return true
	}
	if d.indent == 0 {
		d.indent = indent
	}
	if indent != d.indent {
		return indent > d.indent
	}
	key, value, ok := cut(body)
	if !ok {
		return body[0] == '-'
	}
	if key == "name" || key == "namespace" {
		return d.set(key, value, indent)
	}
	return true
}

// note marks a document as not empty.
func (d *document) note() {
	if d.values == nil {
		d.values = map[string]string{"": ""}
	}
}

// set keeps a plain or simply quoted scalar.
func (d *document) set(key, value string, indent int) bool {
	d.note()
	d.scalarAt = indent
	if quoted := len(value) > 1 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0]; quoted {
		value = value[1 : len(value)-1]
	}
	if _, twice := d.values[key]; twice || value == "" || strings.EqualFold(value, "null") || value == "~" || strings.ContainsAny(value, "\"'\\#&*!|>{}[]%@`,: \t") {
		return false
	}
	d.values[key] = value
	return true
}

// cut splits a line into key and value. Keys that are quoted, or no plain
// words, are not understood.
func cut(body string) (key, value string, ok bool) {
	key, value, ok = strings.Cut(body, ":")
	if !ok || value != "" && value[0] != ' ' {
		return "", "", false
	}
	if strings.ContainsAny(key, "\"'{}[]&*!|>%@`,?# \t") {
		return "", "", false
	}
	return key, strings.TrimSpace(value), true
}

// parse reads a file as kustomize does, panics on odd documents included.
func parse(content []byte) (ids []identity, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("kustomize panicked: %v", cause)
		}
	}()
	nodes, err := kio.FromBytes(content)
	if err != nil {
		return nil, err
	}
	for _, node := range nodes {
		items := []*yaml.RNode{node}
		if strings.HasSuffix(node.GetKind(), "List") {
			if list, err := node.Pipe(yaml.Lookup("items")); err == nil && list != nil {
				items, _ = list.Elements()
			}
		}
		for _, item := range items {
			gvk := resid.GvkFromNode(item)
			ids = append(ids, identityOf(resid.NewResIdWithNamespace(gvk, item.GetName(), item.GetNamespace())))
		}
	}
	return ids, nil
}
