package image

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/billet-metal/billet/fetch"
)

// inUTF16 writes a text as Windows does.
func inUTF16(text string, big, mark bool) []byte {
	var b []byte
	units := utf16.Encode([]rune(text))
	if mark {
		units = append([]uint16{0xfeff}, units...)
	}
	for _, u := range units {
		if big {
			b = append(b, byte(u>>8), byte(u))
		} else {
			b = append(b, byte(u), byte(u>>8))
		}
	}
	return b
}

// TestFindSum: the forms that tools write, and what cannot be decided.
func TestFindSum(t *testing.T) {
	a, b, c, d := strings.Repeat("a", 64), strings.Repeat("b", 128), strings.Repeat("c", 64), strings.Repeat("d", 96)
	m := strings.Repeat("e", 32)
	const source = "/pub/arm64/d.img"
	tests := []struct{ name, text, algo, want, err string }{
		{"sha256sum", a + "  d.img\n", "", "sha256 " + a, ""},
		{"a tab", a + "\td.img\n", "", "sha256 " + a, ""},
		{"blanks and a tab", "  " + a + " \t d.img \t\n", "", "sha256 " + a, ""},
		{"upper case, binary mark, path, CRLF", "x\r\n" + strings.ToUpper(a) + " *./images/d.img\r\n", "", "sha256 " + a, ""},
		{"old Macintosh", c + "  e.img\r" + a + "  d.img\r", "", "sha256 " + a, ""},
		{"BSD", "SHA256 (d.img) = " + a + "\n", "", "sha256 " + a, ""},
		{"BSD without blanks", "SHA256(d.img)= " + a + "\n", "", "sha256 " + a, ""},
		{"OpenSSL 3", "SHA2-256(d.img)= " + a + "\n", "", "sha256 " + a, ""},
		{"BSD with a folder", "SHA512 (images/d.img) = " + b, "", "sha512 " + b, ""},
		{"BSD, brackets in the name of another", "SHA256 (d (1).img) = " + c + "\nSHA256 (d.img) = " + a, "", "sha256 " + a, ""},
		{"BLAKE2", "BLAKE2b-512 (d.img) = " + b, "", "blake2b " + b, ""},
		{"SHA3", "SHA3-256 (d.img) = " + a + "\nSHA256 (d.img) = " + c, "sha3_256", "sha3_256 " + a, ""},
		{"sha384", d + "  d.img", "", "sha384 " + d, ""},
		{"CentOS", "# d.img: 1234567 bytes\nSHA256 (d.img) = " + a + "\n# e.img: 1 bytes\nSHA256 (e.img) = " + c + "\n", "", "sha256 " + a, ""},
		{"comments", "; made by hand\n#" + c + "  d.img\n" + a + "  d.img\n", "", "sha256 " + a, ""},
		{"strongest", a + "  d.img\n" + b + "  d.img\n" + m + "  d.img\n", "", "sha512 " + b, ""},
		{"the one wanted", a + "  d.img\n" + b + "  d.img\n" + m + "  d.img\n", "sha256", "sha256 " + a, ""},
		{"one wanted that is not there", a + "  d.img\n", "sha512", "", `it has no sha512 checksum of a file called "d.img"`},
		{"wanted, and only its length tells", a + "  d.img\n", "sha3_256", "sha3_256 " + a, ""},
		{"wanted, and another is named", "SHA256 (d.img) = " + a, "sha3_256", "", `it has no sha3_256 checksum`},
		{"alone", "# image\n" + a + "\n", "", "sha256 " + a, ""},
		{"alone, without an end", a, "", "sha256 " + a, ""},
		{"alone, named", "sha256:" + a, "", "sha256 " + a, ""},
		{"alone, named with a blank", "SHA256: " + a, "", "sha256 " + a, ""},
		{"alone, of two kinds", m + "\n" + a + "\n", "", "sha256 " + a, ""},
		{"alone, twice the same", a + "\n" + a + "\n", "", "sha256 " + a, ""},
		{"alone, two that differ", a + "\n" + c + "\n", "", "",
			"it has two different sha256 checksums without a name: which one is meant cannot be told"},
		{"alone beside another's", a + "\n" + c + "  e.img\n", "", "",
			`it has no checksum of a file called "d.img", only of others such as "e.img"`},
		{"another's", a + "  e.img\n", "", "", `it has no checksum of a file called "d.img", only of others such as "e.img"`},
		{"another's, which ends alike", a + "  cloud-d.img\n", "", "", `it has no checksum of a file called "d.img"`},
		{"a mirror's", a + "  amd64/d.img\n" + c + "  arm64/d.img\n" + strings.Repeat("0", 64) + "  ./pub/x/d.img\n", "", "sha256 " + c, ""},
		{"a mirror's without ours", a + "  amd64/d.img\n" + c + "  riscv/d.img\n", "", "",
			`it has two different sha256 checksums of a file called "d.img": which one is meant cannot be told`},
		{"twice the same", a + "  d.img\n" + a + "  ./d.img\n", "", "sha256 " + a, ""},
		{"signed", "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n" + b + " *d.img\n-----BEGIN PGP SIGNATURE-----\nVersion: x\n\n" + c +
			"  d.img\n-----END PGP SIGNATURE-----\n", "", "sha512 " + b, ""},
		{"signed and dash-escaped", "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n- -- list --\n" + a +
			"  d.img\n", "", "sha256 " + a, ""},
		{"a byte order mark", "\ufeff" + a + "  d.img\n", "", "sha256 " + a, ""},
		{"a byte order mark, alone", "\ufeff" + a, "", "sha256 " + a, ""},
		{"UTF-16", string(inUTF16(a+"  d.img\r\n", false, true)), "", "sha256 " + a, ""},
		{"UTF-16, big", string(inUTF16(a+"  d.img\r\n", true, true)), "", "sha256 " + a, ""},
		{"UTF-16 without a mark", string(inUTF16(a+"  d.img\r\n", false, false)), "", "sha256 " + a, ""},
		{"UTF-16 without a mark, big, alone", string(inUTF16(a, true, false)), "", "sha256 " + a, ""},
		{"Get-FileHash", string(inUTF16("\r\nAlgorithm       Hash                    Path\r\n"+
			"---------       ----                    ----\r\n"+
			"SHA256          "+strings.ToUpper(a)+"       C:\\images\\d.img\r\n\r\n", false, true)), "", "sha256 " + a, ""},
		{"a Debian archive's", "MD5Sum:\n " + m + "  4711 main/d.img\nSHA256:\n " + a + "  4711 main/d.img\n", "", "sha256 " + a, ""},
		{"an odd name of another", `\` + c + `  e\\d.img` + "\n" + a + "  d.img", "", "sha256 " + a, ""},
		{"sha1", strings.Repeat("a", 40) + "  d.img\n", "", "sha1 " + strings.Repeat("a", 40), ""},
		{"of the unpacked file", a + "  d\n", "", "",
			`it has no checksum of a file called "d.img", but one of "d": the checksum must be of the file as it is downloaded, compressed`},
		{"a sum that is cut", "SHA256 (d.img) = " + a[:50] + "\n", "", "",
			"it is damaged: a sha256 checksum has 64 hexadecimal digits, and the one of \"d.img\" has not"},
		{"a title", "SHA256 checksums of all images\n" + a + "  d.img\n", "", "sha256 " + a, ""},
		{"an algorithm nobody knows", "SKEIN512 (d.img) = " + b + "\nSHA256 (d.img) = " + a, "", "sha256 " + a, ""},
		{"a page", "<!DOCTYPE html><p>" + a + "  d.img", "", "", "it is a web page or an XML document, not a checksum file: is the URL right?"},
		{"a binary", "\x00\x01\x02\x03" + a + "  d.img", "", "", "it is no checksum file: it is no text"},
		{"a long text", strings.Repeat("x", 100_000), "", "", `it has no checksum of a file called "d.img"`},
		{"nothing", "", "", "", `it has no checksum of a file called "d.img"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			algo, got, err := findSum([]byte(tt.text), source, tt.algo)
			if strings.TrimSpace(algo+" "+got) != tt.want || !strings.HasPrefix(errText(err), tt.err) || (err == nil) != (tt.err == "") {
				t.Errorf("got %s %s, %v; want %s, %s", algo, got, err, tt.want, tt.err)
			}
		})
	}
}

// TestSumsOfRealTools: each program's own file about a file is read, and says what this package computes.
func TestSumsOfRealTools(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "d.img"), content)
	writeFile(t, filepath.Join(dir, "other file.img"), big)
	for _, tt := range []struct{ algo, script string }{
		{"sha256", "sha256sum *.img"}, {"sha256", "sha256sum -b ./*.img"}, {"sha256", "sha256sum --tag *.img"}, {"sha512", "sha512sum *.img"},
		{"sha384", "sha384sum *.img"}, {"sha224", "sha224sum *.img"}, {"md5", "md5sum *.img"},
		{"sha1", "sha1sum *.img"}, {"blake2b", "b2sum --tag *.img"},
		{"sha256", "openssl dgst -sha256 *.img"}, {"sha3_256", "openssl dgst -sha3-256 *.img"}, {"sha512", "openssl dgst -sha512 *.img"},
		{"blake2b", "openssl dgst -blake2b512 *.img"}, {"blake2s", "openssl dgst -blake2s256 *.img"}, {"sha256", "openssl dgst -r -sha256 *.img"},
		{"sha256", "shasum -a 256 *.img"}, {"sha384", "shasum -b -a 384 *.img"}, {"sha256", "sha256sum *.img | iconv -f UTF-8 -t UTF-16"},
		{"sha512", "sha512sum d.img | cut -d' ' -f1"},
		{"sha256", "(sha256sum *.img; md5sum *.img; sha1sum *.img) | sed 's/$/\\r/'"},
		{"blake2b", "python3 -c 'import hashlib;print(hashlib.new(\"blake2b\",open(\"d.img\",\"rb\").read()).hexdigest(),\"d.img\")'"},
		{"sha3_384", "python3 -c 'import hashlib;print(hashlib.new(\"sha3_384\",open(\"d.img\",\"rb\").read()).hexdigest(),\"d.img\")'"},
	} {
		cmd := exec.Command("bash", "-ec", "set -o pipefail; "+tt.script)
		cmd.Dir = dir
		text, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", tt.script, err, text)
		}
		h, err := NewHash(tt.algo)
		if err != nil {
			t.Fatal(err)
		}
		h.Write(content)
		want := hex.EncodeToString(h.Sum(nil))
		for _, asked := range []string{tt.algo, ""} {
			algo, got, err := findSum(text, "/x/d.img", asked)
			if asked == "" && (strings.HasPrefix(tt.script, "python3") || strings.HasSuffix(tt.script, "blake2s256 *.img")) {
				continue // only its length tells
			}
			if err != nil || algo != tt.algo || got != want {
				t.Errorf("%s, asked for %q: %s %s, %v; want %s\n%s", tt.script, asked, algo, got, err, want, text)
			}
		}
	}
	if len(Algorithms()) != 12 {
		t.Errorf("%v: each one has a program above", Algorithms())
	}
}

// TestSumFilePlaces: both fields may name a checksum file, and it is asked for with the password only where the
// image is.
func TestSumFilePlaces(t *testing.T) {
	var asked []string
	serve := func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		asked = append(asked, r.URL.Path+" "+password)
		switch r.URL.Path {
		case "/SUMS":
			fmt.Fprintf(w, "%s\tother\nSHA512(i)= %s\n%s *i\n", sha256Of(big), sha512Of(content), sha256Of(content))
		case "/no":
			w.WriteHeader(http.StatusForbidden)
		default:
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
		}
	}
	images, elsewhere := quiet(t, serve), quiet(t, serve)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "SUMS"), []byte(sha256Of(content)+"  i\n"))
	if err := os.Symlink("/etc/hostname", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	s := &Store{Gate: fetch.Loopback(dir)}
	const near = "169.254.169.254"
	for _, tt := range []struct {
		name string
		ref  Ref
		want string // algorithm, or the error
	}{
		{"image_checksum", Ref{Checksum: images.URL + "/SUMS"}, "sha512"},
		{"image_os_hash_value", Ref{HashAlgo: "SHA256", HashValue: images.URL + "/SUMS"}, "sha256"},
		{"image_os_hash_value without an algorithm", Ref{HashValue: images.URL + "/SUMS"}, "sha512"},
		{"elsewhere", Ref{HashAlgo: "sha512", HashValue: elsewhere.URL + "/SUMS"}, "sha512"},
		{"a file", Ref{HashAlgo: "sha256", HashValue: "file://" + dir + "/SUMS"}, "sha256"},
		{"a digest", Ref{Checksum: "sha256:" + sha256Of(content)}, "sha256"},
		{"blanks around it", Ref{Checksum: " " + sha256Of(content) + "\n"}, "sha256"},
		{"sha384", Ref{HashAlgo: "sha384", HashValue: hashOf("sha384", content)}, "sha384"},
		{"sha384 by its length", Ref{Checksum: hashOf("sha384", content)}, "sha384"},
		{"sha3", Ref{HashAlgo: "sha3_512", HashValue: hashOf("sha3_512", content)}, "sha3_512"},
		{"sha1", Ref{HashAlgo: "sha1", HashValue: hashOf("sha1", content)},
			"!an sha1 checksum is not accepted for an image read over HTTP, as it can be forged"},
		{"none of the algorithm", Ref{HashAlgo: "sha384", HashValue: images.URL + "/SUMS"}, `!reading the checksum file ` + images.URL +
			`/SUMS: it has no sha384 checksum of a file called "i"`},
		{"refused", Ref{HashAlgo: "sha256", HashValue: images.URL + "/no?sig=s3cret"},
			"!reading the checksum file " + images.URL + "/no: the server answered 403"},
		{"near", Ref{HashAlgo: "sha256", HashValue: "http://" + near + "/SUMS"},
			"!the checksum file: " + near + " leads to a link-local address"},
		{"near, the older field", Ref{Checksum: "http://" + near + "/SUMS"}, "!the checksum file: " + near + " leads to a link-local address"},
		{"a file outside", Ref{HashAlgo: "sha256", HashValue: "file:///etc/hostname"},
			"!the checksum file: file:///etc/hostname may not be read"},
		{"a file outside by a link", Ref{HashAlgo: "sha256", HashValue: "file://" + dir + "/out"}, "!the checksum file: the link leads out"},
		{"no URL", Ref{HashAlgo: "sha256", HashValue: "ftp://h/SUMS"}, "!image_os_hash_value has 12 characters and is not a sha256"},
		{"no hex", Ref{HashAlgo: "sha256", HashValue: strings.Repeat("x", 64)},
			"!image_os_hash_value is neither hexadecimal digits nor the URL of a checksum file"},
		{"an algorithm alone", Ref{HashAlgo: "sha256", Checksum: sha256Of(content)}, "!image_os_hash_algo and image_os_hash_value go together"},
		{"an unknown algorithm", Ref{HashAlgo: "crc32", HashValue: images.URL + "/SUMS"},
			`!the hash algorithm "crc32" is not supported; allowed are sha512, sha3_512, blake2b,`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked = nil
			tt.ref.Source, tt.ref.User, tt.ref.Password = images.URL+"/i", "me", "pw"
			r, err := s.Resolve(t.Context(), tt.ref)
			got := r.HashAlgo
			if err != nil {
				got = "!" + strings.TrimPrefix(err.Error(), "image "+images.URL+"/i: ")
			}
			if !strings.HasPrefix(got, tt.want) || strings.Contains(got, "s3cret") {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if err == nil && r.HashValue != hashOf(r.HashAlgo, content) {
				t.Errorf("%s is not its %s", r.HashValue, r.HashAlgo)
			}
			for _, a := range asked {
				if tt.name == "elsewhere" && a == "/SUMS pw" || a == "/SUMS " && tt.name != "elsewhere" || a == "/i " {
					t.Errorf("asked for %q", asked)
				}
			}
		})
	}
}

func hashOf(algo string, b []byte) string {
	h, err := NewHash(algo)
	if err != nil {
		return err.Error()
	}
	h.Write(b)
	return hex.EncodeToString(h.Sum(nil))
}
