package api

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
)

// list answers a page; whole is every field.
func (k *records[T, F]) list(l sublist[F], whole bool) handler {
	return func(w http.ResponseWriter, c *call) error {
		q, fields, err := k.asked(c, l.of == nil, whole)
		if err != nil {
			return err
		}
		var f F
		path := k.path
		switch {
		case l.of != nil:
			f, path, err = l.of(c)
		case k.filter != nil:
			f, err = k.filter(c, q)
		}
		if err != nil {
			return err
		}
		if whole {
			path = append(slices.Clone(path), "detail")
		}
		return k.page(w, c, q, f, fields, path)
	}
}

// asked reads the arguments of a list.
func (k *records[T, F]) asked(c *call, filtered, whole bool) (q url.Values, fields []string, err error) {
	var filters []string
	if filtered {
		filters = k.filters
	}
	if q, err = c.query(slices.Concat(paging, filters, []string{"fields", "detail"})...); err != nil {
		return nil, nil, err
	}
	for _, f := range filters {
		if q.Has(f) {
			if err := c.version.needsFilter(k.name, f); err != nil {
				return nil, nil, err
			}
		}
	}
	if fields, err = fieldsAsked(c, q, k.name, k.columns); err != nil {
		return nil, nil, err
	}
	detail, err := detailSince(c, q, cmp.Or(k.detail, firstOf("any?detail")))
	if fields == nil && !detail && !whole {
		fields = k.short
	}
	return q, fields, err
}

// page writes a page; path is the list's own, for the next one.
func (k *records[T, F]) page(w http.ResponseWriter, c *call, q url.Values, f F, fields, path []string) error {
	p, err := c.page(q, func(key string) error {
		if !hasColumn(k.columns, key) || slices.Contains(k.unsorted, key) {
			return badSortKey(key)
		}
		return c.version.needsField(k.name, key)
	})
	if err != nil {
		return err
	}
	items, err := k.kept.List(c.Context(), f, p)
	if err != nil {
		return err
	}
	var next any
	if len(items) > 0 {
		next = c.next(q, p, len(items), k.uuid(&items[len(items)-1]), path...)
	}
	writeJSON(w, http.StatusOK, collection(k.path[len(k.path)-1], k.json(c, items, fields), next))
	return nil
}

func (k *records[T, F]) json(c *call, items []T, fields []string) []map[string]any {
	cols := shown(k.columns, k.name, c.version, fields)
	out := make([]map[string]any, len(items))
	for i := range items {
		out[i] = render(cols, view[T]{&items[i], c})
		for field := range k.head(&items[i]).unreadable {
			if _, shown := out[i][field]; shown {
				out[i][field] = nil // what is not known is not shown as empty
			}
		}
	}
	return out
}

// answer writes one record.
func (k *records[T, F]) answer(w http.ResponseWriter, c *call, status int, x T, fields []string) {
	writeJSON(w, status, k.json(c, []T{x}, fields)[0])
}
