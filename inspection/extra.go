package inspection

import (
	"fmt"
	"strconv"
)

// nestExtraHardware is the hook extra-hardware: "data", a list of [a, b, c, value], becomes "extra", objects
// in objects. Records of another form are left out.
func nestExtraHardware(_ *Settings, r *reading) error {
	list, ok := r.plugin["data"].([]any)
	if !ok {
		return nil
	}
	extra := map[string]any{}
	for _, v := range list {
		record, _ := v.([]any)
		if len(record) != 4 {
			continue
		}
		value := record[3]
		if text, ok := value.(string); ok {
			if n, err := strconv.ParseInt(text, 10, 53); err == nil {
				value = float64(n)
			}
		}
		outer := within(extra, fmt.Sprint(record[0]))
		within(outer, fmt.Sprint(record[1]))[fmt.Sprint(record[2])] = value
	}
	r.plugin["extra"] = extra
	delete(r.plugin, "data")
	return nil
}

// within is the object under a key, made when it is not there.
func within(m map[string]any, key string) map[string]any {
	inner, ok := m[key].(map[string]any)
	if !ok {
		inner = map[string]any{}
		m[key] = inner
	}
	return inner
}
