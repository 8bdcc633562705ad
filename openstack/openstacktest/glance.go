package openstacktest

import (
	"crypto/md5"
	"crypto/sha512"
	"encoding/hex"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// Glance has images that tests give it (Image API v2).
type Glance struct {
	Service
	images map[string]map[string]any
	bytes  map[string][]byte
}

func newGlance(t testing.TB, k *Keystone) *Glance {
	g := &Glance{images: map[string]map[string]any{}, bytes: map[string][]byte{}}
	g.start(t, func(w http.ResponseWriter, r *http.Request) {
		if k.admit(w, r) {
			g.answer(w, r)
		}
	})
	return g
}

// Add puts an image in, or in another's place: active, raw, public, with its bytes' size and sums. more wins over all of that.
func (g *Glance) Add(id string, data []byte, more map[string]any) {
	sum, long := md5.Sum(data), sha512.Sum512(data)
	doc := map[string]any{
		"id": id, "name": id, "status": "active", "visibility": "public", "owner": "p-service", "disk_format": "raw",
		"container_format": "bare", "size": len(data), "min_disk": 0, "min_ram": 0, "checksum": hex.EncodeToString(sum[:]),
		"os_hash_algo": "sha512", "os_hash_value": hex.EncodeToString(long[:]), "updated_at": "2026-01-01T00:00:00Z", "stores": "file",
	}
	maps.Copy(doc, more)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.images[id], g.bytes[id] = doc, data
}

// Remove deletes an image.
func (g *Glance) Remove(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.images, id)
}

func (g *Glance) answer(w http.ResponseWriter, r *http.Request) {
	id, file := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/v2/images/"), "/file")
	doc := g.images[id]
	switch {
	case r.Method != http.MethodGet:
		refuse(w, http.StatusMethodNotAllowed, "error", "The method is not allowed")
	case doc == nil:
		refuse(w, http.StatusNotFound, "error", "No image found with ID "+id)
	case !file:
		reply(w, http.StatusOK, doc)
	case doc["status"] == "queued" || doc["status"] == "saving":
		w.WriteHeader(http.StatusNoContent)
	case doc["status"] == "deactivated":
		refuse(w, http.StatusForbidden, "error", "The requested image has been deactivated. Image data download is forbidden.")
	case r.Header.Get("Range") != "":
		refuse(w, http.StatusBadRequest, "error", "no ranges")
	default:
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.Itoa(len(g.bytes[id])))
		_, _ = w.Write(g.bytes[id])
	}
}
