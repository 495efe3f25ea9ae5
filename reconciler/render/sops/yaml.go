package sops

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

const stanza = "sops"

// openYAML opens a file of YAML documents, each of which is a mapping.
func openYAML(content []byte, keys *Keys) (Opened, error) {
	documents, err := readYAML(content)
	if err != nil {
		return Opened{}, err
	}
	var m metadata
	found := false
	for _, document := range documents {
		node := removeStanza(document)
		if node == nil || found {
			continue
		}
		found = true
		if node.Decode(&m) != nil {
			return Opened{}, errors.New("the sops stanza is malformed")
		}
	}
	if !found {
		return Opened{Content: content}, nil
	}
	o, err := newOpener(m, keys)
	if err != nil {
		return Opened{}, err
	}
	for _, document := range documents {
		if err := o.node(document, nil); err != nil {
			return Opened{}, err
		}
	}
	if err := o.verify(m); err != nil {
		return Opened{}, err
	}
	out, err := writeYAML(documents)
	return Opened{Content: out, Revealed: o.revealed}, err
}

// readYAML gives the mappings of a file.
func readYAML(content []byte) ([]*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var documents []*yaml.Node
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return documents, nil
		}
		if err != nil {
			return nil, errors.New("not YAML")
		}
		if len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
			return nil, errors.New("a document is not a mapping")
		}
		mapping := document.Content[0]
		mapping.HeadComment = join(document.HeadComment, mapping.HeadComment)
		mapping.FootComment = join(mapping.FootComment, document.FootComment)
		documents = append(documents, mapping)
	}
}

func join(a, b string) string { return strings.Trim(a+"\n"+b, "\n") }

func removeStanza(mapping *yaml.Node) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == stanza {
			node := mapping.Content[i+1]
			mapping.Content = append(mapping.Content[:i], mapping.Content[i+2:]...)
			return node
		}
	}
	return nil
}

// node decrypts a node in place.
func (o *opener) node(node *yaml.Node, path []string) error {
	o.comments(node, node, path)
	switch node.Kind {
	case yaml.MappingNode:
		node.Style = 0
		for i := 0; i+1 < len(node.Content); i += 2 {
			key, value := node.Content[i], node.Content[i+1]
			o.comments(key, key, path)
			below := append(path, key.Value)
			if value.Kind == yaml.ScalarNode {
				// Comments beside a value belong to the mapping around it.
				o.comments(value, key, path)
				if err := o.scalar(value, below); err != nil {
					return err
				}
				continue
			}
			if err := o.node(value, below); err != nil {
				return err
			}
		}
		return nil
	case yaml.SequenceNode:
		node.Style = 0
		for _, item := range node.Content {
			if err := o.node(item, path); err != nil {
				return err
			}
		}
		return nil
	case yaml.ScalarNode:
		return o.scalar(node, path)
	case yaml.AliasNode, yaml.DocumentNode:
	}
	return fmt.Errorf("%s: aliases are not supported in encrypted files", strings.Join(path, "."))
}

func (o *opener) scalar(node *yaml.Node, path []string) error {
	var value any
	if node.Decode(&value) != nil {
		return fmt.Errorf("%s: the value is malformed", strings.Join(path, "."))
	}
	value, err := o.leaf(value, path)
	if err != nil {
		return err
	}
	plain := yaml.Node{}
	if plain.Encode(value) != nil {
		return fmt.Errorf("%s: the value cannot be written as YAML", strings.Join(path, "."))
	}
	plain.HeadComment, plain.LineComment, plain.FootComment = node.HeadComment, node.LineComment, node.FootComment
	*node = plain
	return nil
}

// comments decrypts the comments of a node. A decrypted comment beside a value
// goes above the head, which is where SOPS writes it.
func (o *opener) comments(node, head *yaml.Node, path []string) {
	node.HeadComment, _ = o.comment(node.HeadComment, path)
	node.FootComment, _ = o.comment(node.FootComment, path)
	if text, changed := o.comment(node.LineComment, path); changed {
		node.LineComment = ""
		head.HeadComment = join(head.HeadComment, text)
	}
}

// comment decrypts the lines of a comment. They are not part of the digest,
// and one that does not open stays as it is.
func (o *opener) comment(comment string, path []string) (text string, changed bool) {
	if !strings.Contains(comment, marker) {
		return comment, false
	}
	lines := strings.Split(comment, "\n")
	for i, line := range lines {
		if text, ok := strings.CutPrefix(line, "#"); ok && strings.HasPrefix(text, marker) {
			if plain, err := o.open(text, strings.Join(path, ":")+":"); err == nil {
				lines[i] = fmt.Sprintf("#%v", plain)
				changed = true
			}
		}
	}
	return strings.Join(lines, "\n"), changed
}

func writeYAML(documents []*yaml.Node) ([]byte, error) {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(4)
	for _, document := range documents {
		if encoder.Encode(document) != nil {
			return nil, errors.New("the plaintext cannot be written as YAML")
		}
	}
	if encoder.Close() != nil {
		return nil, errors.New("the plaintext cannot be written as YAML")
	}
	return out.Bytes(), nil
}
