package sops

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// envPrefix is how the lines of the stanza start in a file of variables.
const envPrefix = "sops_"

// openEnv opens a file of KEY=value lines.
func openEnv(content []byte, keys *Keys) (Opened, error) {
	m, lines, err := envStanza(content)
	if err != nil {
		return Opened{}, err
	}
	if m.MAC == "" {
		return Opened{Content: content}, nil
	}
	o, err := newOpener(m, keys)
	if err != nil {
		return Opened{}, err
	}
	var out bytes.Buffer
	for _, line := range lines {
		if err := o.envLine(&out, line); err != nil {
			return Opened{}, err
		}
	}
	if err := o.verify(m); err != nil {
		return Opened{}, err
	}
	return Opened{Content: out.Bytes(), Revealed: o.revealed}, nil
}

func (o *opener) envLine(out *bytes.Buffer, line string) error {
	if comment, ok := strings.CutPrefix(line, "#"); ok {
		if strings.HasPrefix(comment, marker) {
			if plain, err := o.open(comment, ":"); err == nil {
				comment = fmt.Sprint(plain)
			}
		}
		out.WriteString("#" + comment + "\n")
		return nil
	}
	key, value, ok := strings.Cut(line, "=")
	if !ok {
		return errors.New("a line is not of the form KEY=value")
	}
	plain, err := o.leaf(strings.ReplaceAll(value, `\n`, "\n"), []string{key})
	if err != nil {
		return err
	}
	text, err := plainBytes(plain)
	if err != nil {
		return err
	}
	out.WriteString(key + "=" + strings.ReplaceAll(string(text), "\n", `\n`) + "\n")
	return nil
}

// envStanza reads the stanza, whose lists are flattened into names such as
// sops_age__list_0__map_enc, and gives the other lines.
func envStanza(content []byte) (metadata, []string, error) {
	var rest []string
	flat := map[string]any{}
	lists := map[string][]map[string]string{}
	for line := range strings.Lines(string(content)) {
		line = strings.TrimRight(line, "\n")
		key, value, _ := strings.Cut(line, "=")
		name, ours := strings.CutPrefix(key, envPrefix)
		switch list, index, field, nested := envName(name); {
		case line == "":
		case !ours:
			rest = append(rest, line)
		case nested && index <= len(lists[list]):
			if index == len(lists[list]) {
				lists[list] = append(lists[list], map[string]string{})
			}
			lists[list][index][field] = strings.ReplaceAll(value, `\n`, "\n")
		case name == "mac_only_encrypted":
			flat[name] = strings.EqualFold(value, "true")
		default:
			flat[name] = value
		}
	}
	for name, list := range lists {
		flat[name] = list
	}
	var m metadata
	encoded, err := json.Marshal(flat)
	if err == nil {
		err = json.Unmarshal(encoded, &m)
	}
	if err != nil {
		return m, nil, errors.New("the sops stanza is malformed")
	}
	return m, rest, nil
}

func envName(name string) (list string, index int, field string, nested bool) {
	list, rest, ok := strings.Cut(name, "__list_")
	if !ok {
		return "", 0, "", false
	}
	number, field, ok := strings.Cut(rest, "__map_")
	index, err := strconv.Atoi(number)
	return list, index, field, ok && err == nil && index >= 0
}
