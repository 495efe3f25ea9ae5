package sops

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// mapping is a JSON object whose members keep their order, which the digest
// depends on.
type mapping []member

type member struct {
	key   string
	value any
}

// openJSON opens a file that is one JSON object.
func openJSON(content []byte, keys *Keys) (Opened, error) {
	root, revealed, err := openObject(content, keys)
	if err != nil {
		return Opened{}, err
	}
	if root == nil {
		return Opened{Content: content}, nil
	}
	compact, err := root.append(nil)
	if err != nil {
		return Opened{}, err
	}
	var out bytes.Buffer
	if json.Indent(&out, compact, "", "\t") != nil {
		return Opened{}, errors.New("the plaintext cannot be written as JSON")
	}
	return Opened{Content: append(out.Bytes(), '\n'), Revealed: revealed}, nil
}

// openBinary opens the envelope that SOPS puts around files it has no format for.
func openBinary(content []byte, keys *Keys) (Opened, error) {
	root, revealed, err := openObject(content, keys)
	if err != nil {
		// Not an envelope: a text that happens to mention SOPS.
		if errors.Is(err, errNotJSON) {
			return Opened{Content: content}, nil
		}
		return Opened{}, err
	}
	if root == nil {
		return Opened{Content: content}, nil
	}
	for _, m := range root {
		if text, ok := m.value.(string); ok && m.key == "data" {
			return Opened{Content: []byte(text), Revealed: revealed}, nil
		}
	}
	return Opened{}, errors.New("the envelope holds no data")
}

var errNotJSON = errors.New("not a JSON object")

// openObject gives the members without the stanza, or nothing when there is none.
func openObject(content []byte, keys *Keys) (mapping, []string, error) {
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.UseNumber()
	value, err := decode(decoder, 0)
	root, ok := value.(mapping)
	if err != nil || !ok {
		return nil, nil, errNotJSON
	}
	var top struct{ Sops *metadata }
	if err := json.Unmarshal(content, &top); err != nil {
		return nil, nil, errors.New("the sops stanza is malformed")
	}
	if top.Sops == nil {
		return nil, nil, nil
	}
	var rest mapping
	for _, m := range root {
		if m.key != stanza {
			rest = append(rest, m)
		}
	}
	o, err := newOpener(*top.Sops, keys)
	if err != nil {
		return nil, nil, err
	}
	if err := o.object(rest, nil); err != nil {
		return nil, nil, err
	}
	return rest, o.revealed, o.verify(*top.Sops)
}

// maxDepth bounds how deep values are nested.
const maxDepth = 1000

// decode reads a value and keeps the order of members.
func decode(decoder *json.Decoder, depth int) (any, error) {
	token, err := decoder.Token()
	if err != nil || depth > maxDepth {
		return nil, errors.Join(err, io.ErrUnexpectedEOF)
	}
	switch token := token.(type) {
	case json.Delim:
		if token == '[' {
			return decodeList(decoder, depth)
		}
		return decodeObject(decoder, depth)
	case json.Number:
		if i, err := token.Int64(); err == nil {
			return int(i), nil
		}
		return token.Float64()
	}
	return token, nil
}

func decodeList(decoder *json.Decoder, depth int) (any, error) {
	list := []any{}
	for decoder.More() {
		value, err := decode(decoder, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	_, err := decoder.Token()
	return list, err
}

func decodeObject(decoder *json.Decoder, depth int) (any, error) {
	object := mapping{}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		value, err := decode(decoder, depth+1)
		if err != nil {
			return nil, err
		}
		text, _ := key.(string)
		object = append(object, member{text, value})
	}
	_, err := decoder.Token()
	return object, err
}

func (o *opener) object(object mapping, path []string) error {
	for i := range object {
		value, err := o.any(object[i].value, append(path, object[i].key))
		if err != nil {
			return err
		}
		object[i].value = value
	}
	return nil
}

func (o *opener) any(value any, path []string) (any, error) {
	switch value := value.(type) {
	case mapping:
		return value, o.object(value, path)
	case []any:
		for i := range value {
			item, err := o.any(value[i], path)
			if err != nil {
				return nil, err
			}
			value[i] = item
		}
		return value, nil
	}
	return o.leaf(value, path)
}

// append writes an object in one line.
func (m mapping) append(out []byte) ([]byte, error) {
	out = append(out, '{')
	for i, member := range m {
		if i > 0 {
			out = append(out, ',')
		}
		var err error
		if out, err = appendJSON(out, member.key); err != nil {
			return nil, err
		}
		if out, err = appendJSON(append(out, ':'), member.value); err != nil {
			return nil, err
		}
	}
	return append(out, '}'), nil
}

func appendJSON(out []byte, value any) ([]byte, error) {
	switch value := value.(type) {
	case mapping:
		return value.append(out)
	case []any:
		out = append(out, '[')
		for i, item := range value {
			if i > 0 {
				out = append(out, ',')
			}
			var err error
			if out, err = appendJSON(out, item); err != nil {
				return nil, err
			}
		}
		return append(out, ']'), nil
	}
	text, err := json.Marshal(value)
	if err != nil {
		return nil, errors.New("the plaintext cannot be written as JSON")
	}
	return append(out, text...), nil
}
