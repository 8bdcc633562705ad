package steps

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
)

// injection is one file to write or to delete.
type injection struct {
	path      string // cleaned, absolute
	partition int    // 0: the one that has the path's first folder
	content   string // base64, or a URL with fields of the node
	deleted   bool

	mode, dirMode *uint32
	owner, group  int // -1: as it is
}

// readInjections checks the files of the property and of the step; the error names all that is wrong.
func readInjections(property, argument any) ([]injection, error) {
	var files []injection
	var wrong []error
	for _, from := range []struct {
		name string
		list any
	}{{"the node's property inject_files", property}, {"the argument files", argument}} {
		list, ok := from.list.([]any)
		if !ok && from.list != nil {
			return nil, fmt.Errorf("%s must be a list of objects", from.name)
		}
		for i, v := range list {
			f, err := readInjection(v)
			if err != nil {
				wrong = append(wrong, fmt.Errorf("file %d of %s: %w", i+1, from.name, err))
			}
			files = append(files, f)
		}
	}
	return files, errors.Join(wrong...)
}

func readInjection(v any) (injection, error) {
	f := injection{owner: -1, group: -1}
	fields, ok := v.(map[string]any)
	if !ok {
		return f, errors.New("it must be an object")
	}
	known := []string{"path", "partition", "content", "deleted", "mode", "dirmode", "owner", "group"}
	for key := range fields {
		if !slices.Contains(known, key) {
			return f, fmt.Errorf("the field %q is unknown; allowed are %s", key, strings.Join(known, ", "))
		}
	}
	name, _ := fields["path"].(string)
	content, isText := fields["content"].(string)
	deleted, isFlag := fields["deleted"].(bool)
	f.path, f.content, f.deleted = path.Clean(name), content, deleted
	var err error
	if f.partition, err = partitionNumber(fields["partition"]); err != nil {
		return f, err
	}
	switch {
	case !strings.HasPrefix(name, "/") || strings.ContainsRune(name, 0):
		return f, errors.New("path must be the absolute path of a file")
	case strings.HasSuffix(name, "/") || f.path == "/":
		return f, fmt.Errorf("path %s is a folder, not a file", name)
	case path.Dir(f.path) == "/" && f.partition == 0:
		return f, fmt.Errorf("path %s is in the root folder, which every file system has: say which partition", name)
	case fields["content"] != nil && !isText, fields["deleted"] != nil && !isFlag:
		return f, errors.New("content must be a text and deleted true or false")
	case deleted == isText:
		return f, errors.New("either content or deleted true must be there")
	}
	for key, bits := range map[string]**uint32{"mode": &f.mode, "dirmode": &f.dirMode} {
		n, given, err := wholeNumber(fields, key, 0, 0o7777)
		if err != nil {
			return f, fmt.Errorf("%w; it is a number as chmod(2) takes it: 420 is rw-r--r--", err)
		}
		if given {
			value := uint32(n)
			*bits = &value
		}
	}
	for key, id := range map[string]*int{"owner": &f.owner, "group": &f.group} {
		n, given, err := wholeNumber(fields, key, -1, math.MaxUint32-1)
		if err != nil {
			return f, err
		}
		if given {
			*id = int(n)
		}
	}
	if !deleted && !strings.Contains(content, "://") {
		if _, err := base64.StdEncoding.DecodeString(content); err != nil {
			return f, errors.New("content must be base64, or a URL")
		}
	}
	return f, nil
}

// partitionNumber reads the partition field. Names of devices may be another disk's after the next boot, so the
// root disk's own numbers are all that is taken.
func partitionNumber(v any) (int, error) {
	switch p := v.(type) {
	case nil:
		return 0, nil
	case float64:
		if p >= 1 && p <= 128 && p == math.Trunc(p) {
			return int(p), nil
		}
	case string:
		if n, err := strconv.Atoi(p); err == nil && n >= 1 && n <= 128 {
			return n, nil
		}
	}
	return 0, fmt.Errorf("partition is %v; the number of a partition of the root disk is allowed, from 1", v)
}

func wholeNumber(fields map[string]any, key string, least, most float64) (n int64, given bool, err error) {
	v, there := fields[key]
	if !there || v == nil {
		return 0, false, nil
	}
	f, ok := v.(float64)
	if !ok || f != math.Trunc(f) || f < least || f > most {
		return 0, false, fmt.Errorf("%s must be a whole number from %.0f to %.0f", key, least, most)
	}
	return int64(f), true, nil
}
