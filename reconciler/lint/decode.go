package lint

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

var errTree = errors.New("the tree of the parser is damaged")

// kindField stands for the field that gets the kind; no field of a message
// has this number.
const kindField = 0

// decoder reads protobuf messages into structs. Fields are found by their
// tag `pb`, which holds the number of the field; what no field asks for is
// left out. An int with the tag `pb:"kind"` gets the number of the last field
// seen: in a node, of which exactly one field is set, that is what kind of
// node it is, also when nothing here knows it.
//
// The types that come with the parser are not used: they bring PostgreSQL's
// C sources into every build with cgo, and five megabytes into the binary.
type decoder struct {
	fields map[reflect.Type]map[int]int
}

func (d decoder) decode(data []byte, into reflect.Value) error {
	fields := d.fieldsOf(into.Type())
	for len(data) > 0 {
		number, wire, n := protowire.ConsumeTag(data)
		if n < 0 {
			return errTree
		}
		data = data[n:]
		size := protowire.ConsumeFieldValue(number, wire, data)
		if size < 0 {
			return errTree
		}
		if kind, ok := fields[kindField]; ok {
			into.Field(kind).SetInt(int64(number))
		}
		if index, ok := fields[int(number)]; ok {
			if err := d.set(into.Field(index), wire, data[:size]); err != nil {
				return fmt.Errorf("%s: %w", into.Type().Field(index).Name, err)
			}
		}
		data = data[size:]
	}
	return nil
}

// fieldsOf returns the indexes of a type's fields by their numbers.
func (d decoder) fieldsOf(of reflect.Type) map[int]int {
	if known, ok := d.fields[of]; ok {
		return known
	}
	fields := make(map[int]int, of.NumField())
	for i := range of.NumField() {
		tag := of.Field(i).Tag.Get("pb")
		if number, err := strconv.Atoi(tag); err == nil {
			fields[number] = i
		} else if tag == "kind" {
			fields[kindField] = i
		}
	}
	d.fields[of] = fields
	return fields
}

// set puts one value into a field.
func (d decoder) set(field reflect.Value, wire protowire.Type, value []byte) error {
	switch wire {
	case protowire.VarintType:
		number, n := protowire.ConsumeVarint(value)
		if n < 0 {
			return errTree
		}
		return setNumber(field, number)
	case protowire.BytesType:
		content, n := protowire.ConsumeBytes(value)
		if n < 0 {
			return errTree
		}
		return d.setContent(field, content)
	default:
		return errTree
	}
}

func setNumber(field reflect.Value, number uint64) error {
	switch field.Kind() {
	case reflect.Bool:
		field.SetBool(number != 0)
	case reflect.Int:
		field.SetInt(int64(int32(number))) //nolint:gosec // Numbers of the tree are 32 bits wide.
	default:
		return errTree
	}
	return nil
}

func (d decoder) setContent(field reflect.Value, content []byte) error {
	switch field.Kind() {
	case reflect.String:
		field.SetString(string(content))
		return nil
	case reflect.Pointer:
		message := reflect.New(field.Type().Elem())
		field.Set(message)
		return d.decode(content, message.Elem())
	case reflect.Slice:
		message := reflect.New(field.Type().Elem()).Elem()
		if err := d.setContent(message, content); err != nil {
			return err
		}
		field.Set(reflect.Append(field, message))
		return nil
	case reflect.Struct:
		return d.decode(content, field)
	default:
		return errTree
	}
}
