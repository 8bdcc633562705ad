package classic

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/billet-metal/billet/agent/steps"
	"github.com/billet-metal/billet/disk/disktest"
)

// tftpServer serves one file, in blocks of 512 bytes, and loses the first answer.
func tftpServer(t *testing.T, name, text string) string {
	t.Helper()
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		buf := make([]byte, 600)
		for {
			n, from, err := l.ReadFrom(buf)
			if err != nil {
				return
			}
			block := 0
			switch {
			case bytes.Equal(buf[:n], []byte("\x00\x01"+name+"\x00octet\x00")):
			case n == 4 && buf[1] == 4:
				block = int(buf[2])<<8 | int(buf[3])
			default:
				l.WriteTo([]byte("\x00\x05\x00\x01no such file\x00"), from)
				continue
			}
			if block*512 > len(text) {
				continue
			}
			part := text[block*512 : min(len(text), block*512+512)]
			l.WriteTo(append([]byte{0, 3, byte((block + 1) >> 8), byte(block + 1)}, part...), from)
		}
	})
	return l.LocalAddr().String()
}

// tokenUser is the service; it only gets the token.
type tokenUser struct {
	Caller
	token string
}

func (u *tokenUser) Authorize(token string) { u.token = token }

// insertMedium puts a medium into a drive of a recorded machine.
func insertMedium(t *testing.T, root, drive, label string, files map[string]string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(root, "sys/block", drive), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "dev"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "dev", drive), disktest.Medium(t, "iso", label, files), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFetchTFTP(t *testing.T) {
	for _, size := range []int{0, 64, 511, 512, 513, 2000} {
		want := strings.Repeat("x", size)
		got, err := fetchTFTP(t.Context(), tftpServer(t, "token-1", want), "token-1")
		if err != nil || got != want {
			t.Errorf("%d bytes: got %d, %v", size, len(got), err)
		}
	}
	if _, err := fetchTFTP(t.Context(), tftpServer(t, "token-1", ""), "token-2"); err == nil ||
		!strings.Contains(err.Error(), `"no such file" (code 1)`) {
		t.Errorf("got %v", err)
	}
	if _, err := fetchTFTP(t.Context(), tftpServer(t, "big", strings.Repeat("y", 70<<10)), "big"); err == nil ||
		!strings.Contains(err.Error(), "larger than 65536") {
		t.Errorf("got %v", err)
	}
}

func FuzzTake(f *testing.F) {
	f.Add([]byte("\x00\x03\x00\x01token"))
	f.Add([]byte("\x00\x05\x00\x01no such file\x00"))
	f.Fuzz(func(t *testing.T, p []byte) {
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		x := &tftpTransfer{conn: c, peer: c.LocalAddr().(*net.UDPAddr)}
		if done, err := x.take(p); done && err == nil && x.text.Len() >= 512 {
			t.Errorf("a whole block is taken for the last")
		}
	})
}

func TestParseRootDevice(t *testing.T) {
	for _, tt := range []struct {
		text string
		want map[string]any
		says string
	}{
		{"", nil, ""},
		{"serial=disk-2", map[string]any{"serial": "disk-2"}, ""},
		{"model=A%20B%2CC,size=>=%205", map[string]any{"model": "A B,C", "size": ">= 5"}, ""},
		{"serial", nil, `"serial" is no hint`},
		{"serial=%zz", nil, "is no hint"},
	} {
		got, err := parseRootDevice(tt.text)
		if tt.says == "" && (err != nil || !reflect.DeepEqual(got, tt.want)) || tt.says != "" &&
			(err == nil || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%s: %v, %v", tt.text, got, err)
		}
	}
}

// The token comes from the labelled medium where there is one, else by TFTP; the log says from where, and
// never what.
func TestFetchToken(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, e *Ramdisk)
		want   string
		says   string // in the log, or the error
	}{
		{"by TFTP", func(*testing.T, *Ramdisk) {}, "the-token", "from=TFTP"},
		{"on a medium", func(t *testing.T, e *Ramdisk) {
			insertMedium(t, e.Root, "sr0", "ir-vfd-dev", map[string]string{"token": "of-the-medium\n", "params.txt": "x"})
		}, "of-the-medium", "from=/dev/sr0"},
		{"in the second drive", func(t *testing.T, e *Ramdisk) {
			insertMedium(t, e.Root, "sr0", "config-2", map[string]string{"token": "of-another"})
			insertMedium(t, e.Root, "sr1", "IR-VFD-DEV", map[string]string{"token": "of-the-medium"})
		}, "of-the-medium", "from=/dev/sr1"},
		{"on a medium that is awaited", func(t *testing.T, e *Ramdisk) {
			e.Media, e.BootServer = true, "127.0.0.1:1"
			insertMedium(t, e.Root, "sr0", "ir-vfd-dev", map[string]string{"token": "of-the-medium"})
		}, "of-the-medium", "from=/dev/sr0"},
		{"a medium without a token", func(t *testing.T, e *Ramdisk) {
			insertMedium(t, e.Root, "sr0", "ir-vfd-dev", map[string]string{"params.txt": "x"})
		}, "the-token", "from=TFTP"},
		{"a damaged medium", func(t *testing.T, e *Ramdisk) {
			insertMedium(t, e.Root, "sr0", "ir-vfd-dev", map[string]string{"token": "of-the-medium"})
			path := filepath.Join(e.Root, "dev/sr0")
			if err := os.Truncate(path, 17*2048); err != nil {
				t.Fatal(err)
			}
		}, "the-token", "a drive cannot be searched for the token"},
		{"an empty drive", func(t *testing.T, e *Ramdisk) {
			if err := os.MkdirAll(filepath.Join(e.Root, "sys/block/sr0"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, "the-token", "from=TFTP"},
		{"no medium where one is awaited", func(t *testing.T, e *Ramdisk) { e.Media = true }, "",
			"no medium labelled ir-vfd-dev with a file token is there"},
		{"no TFTP", func(t *testing.T, e *Ramdisk) { e.DeploymentID = "another" }, "", "no such file"},
		{"an empty token", func(t *testing.T, e *Ramdisk) {
			insertMedium(t, e.Root, "sr0", "ir-vfd-dev", map[string]string{"token": " \n"})
		}, "", "the token from /dev/sr0: it has 0 characters"},
		{"two words", func(t *testing.T, e *Ramdisk) {
			insertMedium(t, e.Root, "sr0", "ir-vfd-dev", map[string]string{"token": "secret secret"})
		}, "", "the token from /dev/sr0: it has 13 characters; one word"},
		{"no text", func(t *testing.T, e *Ramdisk) {
			insertMedium(t, e.Root, "sr0", "ir-vfd-dev", map[string]string{"token": "sec\x00ret"})
		}, "", "one word of 1 to 1024 printable ones is allowed"},
		{"too long", func(t *testing.T, e *Ramdisk) {
			insertMedium(t, e.Root, "sr0", "ir-vfd-dev", map[string]string{"token": strings.Repeat("secret", 200)})
		}, "", "it has 1200 characters"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var logs bytes.Buffer
			var used tokenUser
			e := &Ramdisk{
				Params: Params{DeploymentID: "1", BootServer: tftpServer(t, "token-1", "the-token")},
				Host:   &steps.Host{Root: t.TempDir(), Log: slog.New(slog.NewTextHandler(&logs, nil))},
				Caller: &used,
			}
			tt.change(t, e)
			err := e.fetchToken(t.Context())
			if tt.want == "" {
				if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "secret") {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || used.token != tt.want || !strings.Contains(logs.String(), tt.says) {
				t.Errorf("got %q, %v; the log says %s", used.token, err, logs.String())
			}
			if strings.Contains(logs.String(), tt.want) {
				t.Errorf("the token is in the log: %s", logs.String())
			}
		})
	}
}
