package boot

import (
	"encoding/hex"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// The files of a boot, the last part of their URL and of their TFTP name.
const (
	KernelFile  = "kernel"
	RamdiskFile = "ramdisk"
	ImageFile   = "image"
)

// ScriptPath is where iPXE asks for its script; the query "mac" says which machine asks.
const ScriptPath = "/boot/ipxe"

// LoaderPath is where UEFI HTTP boot finds the boot loaders; the file's name follows.
const LoaderPath = "/boot/loader/"

// KernelPath is the URL path of the kernel.
func KernelPath(secret string) string { return FilePath(secret, KernelFile) }

// RamdiskPath is the URL path of the ramdisk.
func RamdiskPath(secret string) string { return FilePath(secret, RamdiskFile) }

// ImagePath is the URL path of the image.
func ImagePath(secret string) string { return FilePath(secret, ImageFile) }

// FilePath is the URL path of a boot's file. TFTP uses the same without the leading slash.
func FilePath(secret, file string) string { return "/boot/" + secret + "/" + file }

// ParseFilePath takes apart what FilePath made; a leading slash is optional, as TFTP clients
// differ there. ok is false for every other path.
func ParseFilePath(path string) (secret, file string, ok bool) {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if len(parts) != 3 || parts[0] != "boot" || !IsSecret(parts[1]) {
		return "", "", false
	}
	switch parts[2] {
	case KernelFile, RamdiskFile, ImageFile:
		return parts[1], parts[2], true
	}
	return "", "", false
}

// CleanName is the name that a client means: firmware that reads a name of DHCP as text with a zero at its end sends what
// comes after it too, and others put blanks, slashes or backslashes around it. Names of ours are ASCII.
func CleanName(name string) string {
	if i := strings.IndexFunc(name, func(r rune) bool { return r < ' ' || r > '~' }); i >= 0 {
		name = name[:i]
	}
	return strings.TrimLeft(path.Clean("/"+strings.ReplaceAll(strings.TrimSpace(name), `\`, "/")), "/")
}

// IsSecret reports whether s is shaped like a record's secret.
func IsSecret(s string) bool {
	if len(s) != 32 {
		return false
	}
	_, err := hex.DecodeString(s)
	return err == nil
}

var secrets = regexp.MustCompile(`(?i)[0-9a-f]{32,}`)

// Redact prepares a name that came from the network for logs and traces: secrets are hidden,
// control characters quoted, the length bounded.
func Redact(name string) string {
	name = secrets.ReplaceAllString(name, "…")
	if len(name) > 200 {
		name = strings.ToValidUTF8(name[:200], "") + "…"
	}
	if quoted := strconv.QuoteToGraphic(name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}
