package api

import (
	"net/url"
	"strings"
)

// Links are made of one base, which is the configured public endpoint or what the client called: a service behind a proxy
// cannot know its own name.

// link is one entry of a resource's links.
type link struct {
	Href string `json:"href"`
	Rel  string `json:"rel"`
	Type string `json:"type,omitempty"`
}

// href is the public address of a path below /v1.
func (c *call) href(parts ...string) string { return c.base + "/v1" + joined(parts) }

// bookmark is the same without the version, which every server of this API redirects or serves.
func (c *call) bookmark(parts ...string) string { return c.base + joined(parts) }

// links is the pair every resource carries.
func (c *call) links(parts ...string) []link {
	return []link{{Href: c.href(parts...), Rel: "self"}, {Href: c.bookmark(parts...), Rel: "bookmark"}}
}

func joined(parts []string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString("/" + url.PathEscape(p))
	}
	return b.String()
}
