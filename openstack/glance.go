package openstack

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/billet-metal/billet/node"
)

// Images is Glance: what it knows of an image, and its bytes. It is an image.Registry.
type Images struct{ Session *Session }

// Image is an image as Glance describes it (Image API v2, GET /v2/images/ID).
type Image struct {
	ID, Name        string
	Status          string // active is the only one that can be read
	Visibility      string
	Owner           string
	DiskFormat      string // raw, qcow2, iso, aki, ari, ami, …
	ContainerFormat string
	Size            int64  // bytes; 0 when there are none yet
	MinDisk         int64  // GiB
	MD5             string // checksum
	HashAlgo        string // sha512 as a rule
	HashValue       string
	Properties      map[string]string // what else it has, such as kernel_id
}

// Image describes an image. An image that is not there, or that Billet's project may not see, is node.NotFound.
func (g *Images) Image(ctx context.Context, id string) (*Image, error) {
	ctx, cancel := g.Session.within(ctx)
	defer cancel()
	glance, err := g.Session.service(ctx, image, "/v2")
	if err != nil {
		return nil, err
	}
	var doc map[string]any
	if _, err = glance.Get(ctx, glance.ServiceURL("images", url.PathEscape(id)), &doc, nil); err != nil {
		return nil, failure(image, "for image "+id, err)
	}
	return imageOf(doc), nil
}

func imageOf(doc map[string]any) *Image {
	text := func(key string) string {
		s, _ := doc[key].(string)
		return s
	}
	number := func(key string) int64 {
		n, _ := doc[key].(json.Number)
		v, _ := n.Int64()
		return v
	}
	i := &Image{
		ID: text("id"), Name: text("name"), Status: text("status"), Visibility: text("visibility"), Owner: text("owner"),
		DiskFormat: text("disk_format"), ContainerFormat: text("container_format"), Size: number("size"), MinDisk: number("min_disk"),
		MD5: text("checksum"), HashAlgo: text("os_hash_algo"), HashValue: text("os_hash_value"), Properties: map[string]string{},
	}
	for key, value := range doc {
		if s, ok := value.(string); ok {
			i.Properties[key] = s
		}
	}
	return i
}

// Open reads the bytes of an image (GET /v2/images/ID/file). Glance knows neither HEAD nor ranges there: whoever is cut off
// begins anew. The reader ends when ctx does; no other deadline is set, as images are large.
func (g *Images) Open(ctx context.Context, id string) (io.ReadCloser, error) {
	glance, err := g.Session.service(ctx, image, "/v2")
	if err != nil {
		return nil, err
	}
	resp, err := glance.Get(context.WithValue(ctx, stream{}, true), glance.ServiceURL("images", url.PathEscape(id), "file"), nil,
		&gophercloud.RequestOpts{KeepResponseBody: true, OkCodes: []int{http.StatusOK, http.StatusNoContent}})
	if err != nil {
		return nil, failure(image, "for the bytes of image "+id, err)
	}
	if resp.StatusCode == http.StatusNoContent { // an image without any (Image API v2)
		resp.Body.Close()
		return nil, node.Errorf(node.NotFound, "Glance has no bytes of image %s: nothing was uploaded", id)
	}
	if resp.ContentLength < 0 {
		return resp.Body, nil
	}
	return &exactly{resp.Body, resp.ContentLength}, nil
}

// exactly is a body that is an error when it ends too early.
type exactly struct {
	io.ReadCloser
	left int64
}

func (e *exactly) Read(b []byte) (int, error) {
	n, err := e.ReadCloser.Read(b)
	if e.left -= int64(n); err == io.EOF && e.left > 0 {
		err = fmt.Errorf("the image broke off %d bytes before its end: %w", e.left, io.ErrUnexpectedEOF)
	}
	return n, err
}
