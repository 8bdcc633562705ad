package api

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/billet-metal/billet/api/payload"
	"github.com/billet-metal/billet/node"
)

// Lists are paged alike, by the UUID of the last item seen: a page stays right while others add and remove items.

// paging are the arguments every list takes.
var paging = []string{"limit", "marker", "sort_key", "sort_dir"}

// query reads the URL's arguments and refuses those that are not allowed here.
func (c *call) query(allowed ...string) (url.Values, error) {
	q, err := url.ParseQuery(c.URL.RawQuery)
	if err != nil {
		return nil, invalid("The query of the URL is malformed: %s.", err)
	}
	var unexpected []string
	for k := range q {
		if !slices.Contains(allowed, k) {
			unexpected = append(unexpected, k)
		}
	}
	if len(unexpected) > 0 {
		slices.Sort(unexpected)
		return nil, invalid("Unexpected arguments: %s", strings.Join(unexpected, ", "))
	}
	return q, nil
}

// page reads limit, marker, sort_key and sort_dir. sortable tells which keys may sort.
func (c *call) page(q url.Values, sortable func(key string) error) (node.Page, error) {
	p := node.Page{Limit: c.maxLimit, Marker: q.Get("marker")}
	if s := q.Get("limit"); s != "" {
		limit, err := strconv.Atoi(s)
		if err != nil {
			return p, invalid("Invalid input for limit: %q is not an integer.", s)
		}
		if limit <= 0 {
			return p, invalid("Limit must be positive")
		}
		p.Limit = min(limit, c.maxLimit)
	}
	switch dir := q.Get("sort_dir"); dir {
	case "", "asc":
	case "desc":
		p.SortDesc = true
	default:
		return p, invalid("Invalid sort direction: %s. Acceptable values are 'asc' or 'desc'", dir)
	}
	if key := q.Get("sort_key"); key != "" && key != "id" {
		if err := sortable(key); err != nil {
			return p, err
		}
		p.SortKey = key
	}
	return p, nil
}

func badSortKey(key string) error {
	return invalid("The sort_key value \"%s\" is an invalid field for sorting", key)
}

// next is the address of the following page, or nil when this one is not full. Unlike Ironic's
// own server it keeps every filter, so that the next page is of the same list.
func (c *call) next(q url.Values, p node.Page, count int, last string, parts ...string) any {
	if count == 0 || count < p.Limit {
		return nil
	}
	args := url.Values{}
	for k, v := range q {
		args[k] = v
	}
	args.Del("limit")
	args.Del("marker")
	args.Del("sort_key")
	args.Del("sort_dir")
	key, dir := p.SortKey, "asc"
	if key == "" {
		key = "id"
	}
	if p.SortDesc {
		dir = "desc"
	}
	href := c.href(parts...) + "?sort_key=" + key + "&sort_dir=" + dir
	if len(args) > 0 {
		href += "&" + args.Encode()
	}
	return href + "&limit=" + strconv.Itoa(p.Limit) + "&marker=" + url.QueryEscape(last)
}

// collection is a list's body, with next when there may be more.
func collection(key string, items any, next any) map[string]any {
	m := map[string]any{key: items}
	if next != nil {
		m["next"] = next
	}
	return m
}

// boolArg reads a boolean argument, in all spellings that the API takes; nil when it is absent.
func boolArg(q url.Values, key string) (*bool, error) {
	if !q.Has(key) {
		return nil, nil
	}
	b, ok := payload.SpelledBool(q.Get(key))
	if !ok {
		return nil, invalid("Invalid input for %s: unrecognized value %q, acceptable values are: 0, 1, f, false, n, no, off, on, t, true, y, yes",
			key, q.Get(key))
	}
	return &b, nil
}

// detailAsked reads ?detail=, which a list takes since 1.43 and never together with fields.
func detailAsked(c *call, q url.Values) (detail bool, err error) {
	return detailSince(c, q, firstOf("any?detail"))
}

// detailSince is detailAsked of a list that takes it since another version.
func detailSince(c *call, q url.Values, first version) (detail bool, err error) {
	d, err := boolArg(q, "detail")
	if err != nil || d == nil {
		return false, err
	}
	if c.version < first {
		return false, invalid("Invalid query parameter ?detail=%s received. It needs API version %s.", q.Get("detail"), first)
	}
	if *d && q.Has("fields") {
		return false, invalid("Can't fetch a subset of fields with 'detail' set")
	}
	return *d, nil
}
