package steps

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// fillIn puts what the node says into a URL, in the form that deploy templates have from Ironic:
// {node[uuid]}, {ports[0][address]}; {{ and }} stand for single braces.
func fillIn(text string, about map[string]any) (string, error) {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case (c == '{' || c == '}') && i+1 < len(text) && text[i+1] == c:
			out.WriteByte(c)
			i++
		case c == '}':
			return "", errors.New("a } without a { before it; }} stands for one")
		case c == '{':
			field, _, closed := strings.Cut(text[i+1:], "}")
			if !closed {
				return "", errors.New("a { without a } after it; {{ stands for one")
			}
			value, err := lookUp(field, about)
			if err != nil {
				return "", fmt.Errorf("{%s}: %w", field, err)
			}
			out.WriteString(value)
			i += len(field) + 1
		default:
			out.WriteByte(c)
		}
	}
	return out.String(), nil
}

// lookUp follows name[key][key]… to a text, a number or a flag.
func lookUp(field string, about map[string]any) (string, error) {
	name, rest, _ := strings.Cut(field, "[")
	value, ok := about[name]
	if !ok {
		return "", errors.New("only node[…] and ports[…] are known")
	}
	for rest != "" {
		key, after, closed := strings.Cut(rest, "]")
		if !closed || after != "" && after[0] != '[' {
			return "", errors.New("it must look like node[key][key]")
		}
		rest = strings.TrimPrefix(after, "[")
		switch v := value.(type) {
		case map[string]any:
			value, ok = v[key]
		case []any:
			n, err := strconv.Atoi(key)
			if ok = err == nil && n >= 0 && n < len(v); ok {
				value = v[n]
			}
		default:
			ok = false
		}
		if !ok {
			return "", fmt.Errorf("there is no %q", key)
		}
	}
	switch v := value.(type) {
	case string:
		return v, nil
	case bool, float64, json.Number:
		return fmt.Sprint(v), nil
	}
	return "", errors.New("it is no text or number")
}
