package tftp

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"path"
	"strings"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/node"
)

// file is one open file of the service; size is -1 when unknown. Of one that cannot be opened only the kind is there.
type file struct {
	io.ReadCloser
	size    int64
	kind    node.BootFile
	ownDisk bool // a menu that starts the machine's own disk
}

// notItsOwn is the error for a client that asks for another machine's menu.
type notItsOwn struct{ mac, why string }

func (e notItsOwn) Error() string { return "the menu of " + e.mac + " is refused: " + e.why }

// open finds a file by the name a client asks for. Every
// name that is not a configuration, a file of a boot record or a boot loader does not exist.
func (s *Server) open(ctx context.Context, name string, client netip.Addr) (file, error) {
	f, err := s.openAs(ctx, boot.CleanName(name), client)
	if lower := strings.ToLower(boot.CleanName(name)); errors.Is(err, fs.ErrNotExist) && lower != boot.CleanName(name) {
		return s.openAs(ctx, lower, client)
	}
	return f, err
}

func (s *Server) openAs(ctx context.Context, name string, client netip.Addr) (file, error) {
	mac := s.macOf(client)
	if secret, which, ok := boot.ParseFilePath(name); ok {
		return s.openBoot(ctx, secret, which)
	}
	if text, ok, err := s.config(ctx, name, mac, client); ok || err != nil {
		return text, err
	}
	if id, ok := boot.DeploymentID(name); ok {
		return s.openToken(ctx, id, mac)
	}
	kind := s.Loaders.FileKind(name)
	f, err := s.Loaders.Open(name)
	if err != nil {
		return file{kind: kind}, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return file{kind: kind}, fmt.Errorf("looking at boot loader %s: %w", name, err)
	}
	return file{ReadCloser: f, size: st.Size(), kind: kind}, nil
}

// errBootEnded: no boot has the secret of the name, now.
var errBootEnded = fmt.Errorf("this boot has ended or never was: %w", fs.ErrNotExist)

// openBoot opens a kernel or a ramdisk. Images are too large for TFTP and are not served.
func (s *Server) openBoot(ctx context.Context, secret, which string) (file, error) {
	r, err := s.Lookup.RecordBySecret(ctx, secret)
	if err != nil {
		return file{kind: node.BootFile(which)}, fmt.Errorf("looking up a boot record: %w", err)
	}
	if r == nil {
		return file{kind: node.BootFile(which)}, errBootEnded
	}
	kind := r.Kind(which)
	if which == boot.ImageFile || r.Place(which) == "" {
		return file{kind: kind}, fmt.Errorf("boot record: %w", fs.ErrNotExist)
	}
	src, err := boot.OpenSource(ctx, s.Gate, r.Place(which))
	if err != nil {
		return file{kind: kind}, fmt.Errorf("opening the %s of node %s: %w", which, r.NodeUUID, err)
	}
	return file{ReadCloser: src, size: src.Size, kind: kind}, nil
}

// openToken opens the token of the deployment under way on the machine that asks.
func (s *Server) openToken(ctx context.Context, id, mac string) (file, error) {
	m, err := s.Lookup.Machine(ctx, mac)
	if err != nil {
		return file{kind: node.TokenFile}, fmt.Errorf("looking up the machine %s: %w", mac, err)
	}
	token := m.Token(id)
	if token == "" {
		return file{kind: node.TokenFile}, fmt.Errorf("token: %w", fs.ErrNotExist)
	}
	return textFile(node.TokenFile, token), nil
}

// config answers the names PXELINUX and GRUB look for their configuration under. PXELINUX asks for
// its system identifier, pxelinux.cfg/01-<mac>, pxelinux.cfg/<address in hex>, shorter and
// shorter, and pxelinux.cfg/default; GRUB for <prefix>/grub.cfg and then for what that names.
func (s *Server) config(ctx context.Context, name, mac string, client netip.Addr) (f file, ok bool, err error) {
	dir, base := path.Split(name)
	grub := false
	switch {
	case strings.HasSuffix(dir, "pxelinux.cfg/"):
		if m, named := macOfName(base); named {
			mac = m
		} else if base != "default" && !isHexAddress(base) {
			return file{kind: node.MenuFile}, true, fmt.Errorf("menu: %w", fs.ErrNotExist)
		}
	case name == boot.GRUBMachinePath+base:
		m, named := boot.CanonicalMAC(base)
		if !named {
			return file{}, false, nil
		}
		mac, grub = m, true
	case strings.HasPrefix(base, "grub.cfg-"):
		m, named := macOfName(strings.TrimPrefix(base, "grub.cfg-"))
		if !named {
			return file{}, false, nil
		}
		mac, grub = m, true
	case base == "grub.cfg" && path.Base(dir) != "x86_64-efi" && path.Base(dir) != "arm64-efi":
		return textFile(node.MenuFile, boot.GRUBEntry), true, nil
	default:
		return file{}, false, nil
	}
	f, err = s.machineConfig(ctx, mac, client, grub)
	return f, true, err
}

// machineConfig writes the configuration of one machine. A machine that is to boot by iPXE and
// asks here all the same is not turned away: the record has all it needs.
func (s *Server) machineConfig(ctx context.Context, mac string, client netip.Addr, grub bool) (file, error) {
	m, err := s.Lookup.Machine(ctx, mac)
	if err != nil {
		return file{kind: node.MenuFile}, fmt.Errorf("looking up the machine %s: %w", mac, err)
	}
	if s.Keeper != nil {
		who, err := s.Keeper.Ask(ctx, mac, m.Boots(), client)
		if err != nil {
			return file{kind: node.MenuFile}, fmt.Errorf("finding out whether %s is the machine %s: %w", client, mac, err)
		}
		if who.Refused != "" {
			return file{kind: node.MenuFile}, notItsOwn{mac, who.Refused}
		}
	}
	text := boot.PXELinuxConfig(m.Boots())
	if grub {
		text = boot.GRUBConfig(mac, m.Boots())
	}
	f := textFile(node.MenuFile, text)
	f.ownDisk = m.Boots() == nil
	return f, nil
}

// macOfName reads "01-52-54-00-00-00-01", hardware type 1 and a MAC.
func macOfName(s string) (string, bool) {
	rest, ok := strings.CutPrefix(s, "01-")
	if !ok {
		return "", false
	}
	return boot.CanonicalMAC(rest)
}

// isHexAddress reads "0A630015", a whole IPv4 address; PXELINUX's shorter forms stand for networks
// and have no answer.
func isHexAddress(s string) bool {
	b, err := hex.DecodeString(s)
	if err != nil {
		return false
	}
	a, ok := netip.AddrFromSlice(b)
	return ok && a.Is4()
}

type nopCloser struct{ io.Reader }

func (nopCloser) Close() error { return nil }

func textFile(kind node.BootFile, s string) file {
	return file{ReadCloser: nopCloser{strings.NewReader(s)}, size: int64(len(s)), kind: kind}
}
