package web

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/node"
)

// file serves a kernel, ramdisk or image: a local file, or what another server answers.
func (h *Handler) file(w http.ResponseWriter, r *http.Request, secret, file string) error {
	rec, err := h.lookup(r.Context(), secret, file)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "no-transform")
	place, kind := rec.Place(file), rec.Kind(file)
	if boot.IsURL(place) {
		return h.forward(w, r, rec, file, place)
	}
	src, err := boot.OpenSource(r.Context(), h.Gate, place)
	if errors.Is(err, fs.ErrNotExist) {
		h.Log.Error("a file of a boot record is gone", "node", rec.NodeUUID, "file", file, "path", place)
		return notFound(kind, "the "+file+" of this boot is gone from the server")
	}
	if err != nil {
		return failure(kind, "opening the %s of node %s: %w", file, rec.NodeUUID, err)
	}
	defer src.Close()
	st, err := src.File.Stat()
	if err != nil {
		return failure(kind, "looking at the %s of node %s: %w", file, rec.NodeUUID, err)
	}
	w.Header().Set("ETag", etag(st))
	h.watched(w, r, about{rec.Kind(file), file, rec.NodeUUID}, func(w http.ResponseWriter) error {
		http.ServeContent(w, r, "", st.ModTime(), src.File)
		return nil
	})
	return nil
}

// etag changes with whatever replaces a file: its size and the nanosecond of its last change.
func etag(st os.FileInfo) string {
	return `"` + strconv.FormatInt(st.Size(), 36) + "-" + strconv.FormatInt(st.ModTime().UnixNano(), 36) + `"`
}

// asked and answered are the headers that carry ranges and validators to the other server
// and back.
var (
	asked    = []string{"Range", "If-Range", "If-None-Match", "If-Match", "If-Modified-Since", "If-Unmodified-Since"}
	answered = []string{"Content-Length", "Content-Range", "Accept-Ranges", "ETag", "Last-Modified"}
)

// forward streams a file that lies on another server, with that server's ranges and validators.
func (h *Handler) forward(w http.ResponseWriter, r *http.Request, rec *boot.Record, file, place string) error {
	header := http.Header{}
	copyHeaders(header, r.Header, asked)
	resp, err := boot.Fetch(r.Context(), h.Gate, r.Method, place, header)
	if err != nil {
		h.Log.Error("a file of a boot record cannot be fetched", "node", rec.NodeUUID, "file", file, "error", err)
		return answerError{http.StatusBadGateway, "the server that has the " + file + " of this boot does not answer",
			node.FileFailed, rec.Kind(file)}
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent, http.StatusNotModified,
		http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable:
	default:
		h.Log.Error("a file of a boot record cannot be fetched", "node", rec.NodeUUID, "file", file, "status", resp.Status)
		return answerError{http.StatusBadGateway, "the server that has the " + file + " of this boot answered " + resp.Status,
			node.FileFailed, rec.Kind(file)}
	}
	if resp.ContentLength < 0 && !r.ProtoAtLeast(1, 1) && r.Method == http.MethodGet {
		// HTTP/1.0 knows the end of such a file by the end of the connection, so a cut one would be taken for whole.
		return answerError{http.StatusBadGateway, "the server that has the " + file + " of this boot does not say how long it is",
			node.FileFailed, rec.Kind(file)}
	}
	copyHeaders(w.Header(), resp.Header, answered)
	h.watched(w, r, about{rec.Kind(file), file, rec.NodeUUID}, func(w http.ResponseWriter) error {
		w.WriteHeader(resp.StatusCode)
		if r.Method != http.MethodGet {
			return nil
		}
		_, err := io.Copy(w, resp.Body)
		return err
	})
	return nil
}

func copyHeaders(to, from http.Header, names []string) {
	for _, name := range names {
		if v := from.Values(name); len(v) > 0 {
			to[name] = v
		}
	}
}

// about is what a download is of.
type about struct {
	kind     node.BootFile
	name     string // for people
	nodeUUID string // "" of a boot loader
}

// watched records a download: its first byte, and how it ended. The agent reads an image in
// many ranges; of those it records only the first and the broken ones, or they would push
// everything else out of what is kept of a boot.
func (h *Handler) watched(w http.ResponseWriter, r *http.Request, of about, serve func(http.ResponseWriter) error) {
	mac, what := h.macOf(r), of.name
	proof := node.ProofNeighbour // who reads the answer is at the address it was sent to
	if of.nodeUUID != "" {
		proof = node.ProofSecret
	}
	tell := func(kind node.BootKind, how string) { h.tell(mac, proof, kind, of.kind, what+": "+how) }
	quiet := false
	if v := r.Header.Get("Range"); v != "" {
		what += " (" + boot.Redact(v) + ")"
		quiet = !strings.HasPrefix(v, "bytes=0-")
	}
	watch := &watch{ResponseWriter: w, first: func() {
		if !quiet {
			tell(node.FileBegun, "first byte sent")
		}
	}}
	began := time.Now()
	err := serve(watch)
	took := time.Since(began).Round(time.Millisecond)
	switch {
	case r.Method == http.MethodHead:
		tell(node.FileSized, "asked for its size")
	case watch.status >= 400:
		tell(node.FileRefused, fmt.Sprintf("answered %d", watch.status))
	case watch.status >= 300: // it has the file already
		tell(node.FileSized, fmt.Sprintf("answered %d", watch.status))
	case watch.sent < watch.promised() || r.Context().Err() != nil:
		tell(node.FileBroken, fmt.Sprintf("broken off after %d of %d bytes in %s", watch.sent, watch.promised(), took))
		h.Log.Warn("a boot download was broken off", "node", of.nodeUUID, "mac", mac, "what", what, "bytes", watch.sent)
	case err != nil:
		tell(node.FileBroken, fmt.Sprintf("broken off after %d bytes in %s: %v", watch.sent, took, err))
		h.Log.Warn("a boot download was broken off", "node", of.nodeUUID, "mac", mac, "what", what, "bytes", watch.sent, "error", err)
	case !quiet:
		tell(node.FileSent, fmt.Sprintf("complete, %d bytes in %s", watch.sent, took))
	}
	if err != nil {
		// Without a length the client could not tell a cut file from a whole one: its connection is cut.
		panic(http.ErrAbortHandler)
	}
}

// watch counts the bytes of an answer.
type watch struct {
	http.ResponseWriter
	first  func()
	status int
	sent   int64
}

func (w *watch) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *watch) Write(b []byte) (int, error) {
	w.begin()
	n, err := w.ResponseWriter.Write(b)
	w.sent += int64(n)
	return n, err
}

// ReadFrom keeps sendfile(2) at work below http.ServeContent.
func (w *watch) ReadFrom(src io.Reader) (int64, error) {
	w.begin()
	n, err := io.Copy(w.ResponseWriter, src)
	w.sent += n
	return n, err
}

func (w *watch) begin() {
	if w.sent == 0 && w.status < 300 {
		w.first()
	}
}

// Unwrap is for http.ResponseController.
func (w *watch) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// promised is the length that the headers name; -1 when they name none.
func (w *watch) promised() int64 {
	n, err := strconv.ParseInt(w.Header().Get("Content-Length"), 10, 64)
	if err != nil {
		return -1
	}
	return n
}
