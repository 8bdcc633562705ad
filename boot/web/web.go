// Package web owns what machines fetch by HTTP while they boot: iPXE's script, boot loaders for UEFI
// HTTP boot, and the kernel, ramdisk and image of a boot record. It refuses to list anything: the
// secret in the URL is the key.
package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/fetch"
	"github.com/billet-metal/billet/node"
)

// Handler serves the paths below /boot/. Lookup, BaseURL, Trace and Log are needed.
type Handler struct {
	Lookup  boot.Lookup
	BaseURL string // as machines reach this handler: "http://10.99.0.1:8080"
	Loaders boot.Loaders
	MACOf   boot.MACOf   // nil: boot.Neighbour
	Gate    *fetch.Gate  // which files and URLs of a record are read; nil: no file of this machine
	Keeper  *boot.Keeper // who may read a machine's script; nil: everybody
	Trace   boot.Trace
	Log     *slog.Logger
}

// answerError is an error with the status and the sentence the machine gets.
type answerError struct {
	status int
	text   string
	kind   node.BootKind
	file   node.BootFile
}

func (e answerError) Error() string { return e.text }

func notFound(file node.BootFile, text string) error {
	return answerError{http.StatusNotFound, text, node.FileMissing, file}
}

// failed is an error that is ours, with the file that was asked for.
type failed struct {
	error
	file node.BootFile
}

func (f failed) Unwrap() error { return f.error }

func failure(file node.BootFile, format string, args ...any) error {
	return failed{fmt.Errorf(format, args...), file}
}

// ServeHTTP is described on http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "the boot service only reads", http.StatusMethodNotAllowed)
		return
	}
	err := h.route(w, r)
	if err == nil {
		return
	}
	a, ours := errors.AsType[answerError](err)
	if !ours {
		about, _ := errors.AsType[failed](err)
		a = answerError{http.StatusInternalServerError, "the boot service failed; its log has the reason",
			node.FileFailed, cmp.Or(about.file, node.OtherFile)}
		h.Log.Error("boot http request failed", "path", boot.Redact(r.URL.Path), "client", r.RemoteAddr, "error", err)
	}
	h.tell(h.macOf(r), node.ProofNeighbour, a.kind, a.file, fmt.Sprintf("%s: %d %s", boot.Redact(r.URL.Path), a.status, a.text))
	http.Error(w, a.text, a.status)
}

func (h *Handler) route(w http.ResponseWriter, r *http.Request) error {
	if r.URL.Path == boot.ScriptPath {
		return h.script(w, r)
	}
	if name, ok := strings.CutPrefix(r.URL.Path, boot.LoaderPath); ok {
		return h.loader(w, r, boot.CleanName(name))
	}
	secret, file, ok := boot.ParseFilePath(r.URL.Path)
	if !ok {
		return notFound(node.OtherFile, "there is nothing at this path of the boot service")
	}
	return h.file(w, r, secret, file)
}

// script answers iPXE. It sends an unknown machine to its own disk.
func (h *Handler) script(w http.ResponseWriter, r *http.Request) error {
	mac, ok := boot.CanonicalMAC(r.URL.Query().Get("mac"))
	if !ok {
		return answerError{http.StatusBadRequest, "the query must have mac=, a MAC address such as 52:54:00:00:00:01",
			node.FileRefused, node.ScriptFile}
	}
	m, err := h.Lookup.Machine(r.Context(), mac)
	if err != nil {
		return failure(node.ScriptFile, "looking up the machine %s: %w", mac, err)
	}
	who, err := h.admit(r, mac, m.Boots())
	if err != nil {
		return failure(node.ScriptFile, "finding out whether %s is the machine %s: %w", r.RemoteAddr, mac, err)
	}
	if who.Refused != "" {
		h.tell(mac, "", node.NotItsOwn, node.ScriptFile, "script: refused: "+who.Refused)
		h.Log.Warn("a boot script was asked for by another than its machine", "mac", mac, "client", r.RemoteAddr, "why", who.Refused)
		http.Error(w, "this script is another machine's", http.StatusForbidden)
		return nil
	}
	text := boot.IPXEScript(h.BaseURL, mac, m.Boots())
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(text))
	kind, what := node.FileSent, "script: load kernel and ramdisk"
	switch b := m.Boots(); {
	case b == nil:
		kind, what = node.OwnDisk, "script: boot its own disk"
	case b.Medium():
		what = "script: boot a medium"
	}
	if who.Note != "" {
		what += " (" + who.Note + ")"
	}
	h.tell(mac, who.Proof, kind, node.ScriptFile, what)
	return nil
}

// admit asks the keeper about who asks for a machine's script.
func (h *Handler) admit(r *http.Request, mac string, b *boot.Record) (boot.Verdict, error) {
	if h.Keeper == nil {
		return boot.Verdict{}, nil
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return boot.Verdict{}, err
	}
	return h.Keeper.Ask(r.Context(), mac, b, from.Addr())
}

func (h *Handler) loader(w http.ResponseWriter, r *http.Request, name string) error {
	f, err := h.Loaders.Open(name)
	kind := h.Loaders.FileKind(name)
	if errors.Is(err, fs.ErrNotExist) {
		return notFound(kind, "there is no such boot loader")
	}
	if err != nil {
		return failed{err, kind}
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return failure(kind, "looking at boot loader %s: %w", name, err)
	}
	w.Header().Set("Content-Type", "application/efi") // UEFI specification, section 24.7.3.2
	h.watched(w, r, about{kind, "loader " + boot.Redact(name), ""}, func(w http.ResponseWriter) error {
		http.ServeContent(w, r, "", st.ModTime(), f)
		return nil
	})
	return nil
}

// macOf names the machine behind a request. r.RemoteAddr is the machine's own: machines use no proxy.
func (h *Handler) macOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return ""
	}
	if h.MACOf != nil {
		if mac := h.MACOf(ip.Unmap()); mac != "" {
			return mac
		}
	}
	return boot.Neighbour(ip)
}

func (h *Handler) tell(mac string, proof node.BootProof, kind node.BootKind, file node.BootFile, what string) {
	h.Trace.Saw(node.BootEvent{MAC: mac, Service: "http", Kind: kind, File: file, Proof: proof, What: what, At: node.Now()})
	h.Log.Debug("boot http", "mac", mac, "what", what)
}

// lookup finds a record; its error says why there is none in words for whoever reads the console.
func (h *Handler) lookup(ctx context.Context, secret, file string) (*boot.Record, error) {
	r, err := h.Lookup.RecordBySecret(ctx, secret)
	if err != nil {
		return nil, failure(node.BootFile(file), "looking up a boot record: %w", err)
	}
	if r == nil {
		text := "this boot has ended or never was; power the machine off and on to start again"
		return nil, answerError{http.StatusNotFound, text, node.BootEnded, node.BootFile(file)}
	}
	if r.Place(file) == "" {
		return nil, notFound(r.Kind(file), "this boot has no "+file)
	}
	return r, nil
}
