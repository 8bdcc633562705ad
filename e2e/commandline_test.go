package e2e

import (
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/boot"
)

// Words that mean something to a loader: ends of commands, comments, settings, variables, quotes, patterns, options. They
// are few: the kernel hands those that it does not know to init and panics when there are more than 32.
const hostileWords = "console=ttyS0 quiet ; " +
	"reboot a;b #c d#e || goto && exit m.a=$net_default_mac${root$(x)`date`{a,b}*?[a-z]~!<>|&()%d^ " +
	`--name=x "dyndbg=file a.c +p; file b.c # +p" "m.q=${x y" -n`

// hostileToIPXE are those that GRUB cannot hand to a kernel as they are.
const hostileToIPXE = ` 'x y' w="a ; b" "v" m.u=\n m.t\`

// What a user gives as kernel parameters reaches the kernel as it was written, and nothing else changes: each real
// loader boots a real kernel, and what that kernel says is compared byte for byte. The line is as long as it may be.
func TestLongKernelParametersArriveAsWritten(t *testing.T) {
	const mac, path = `BOOTIF=01(-[0-9a-f]{2}){6}`, `boot/[0-9a-f]{32}/`
	tests := []struct {
		firmware, boot, line, before, after string // before and after: what the loader itself adds
	}{
		{"bios", "ipxe", strings.Replace(hostileWords+hostileToIPXE, "${", "$ {", -1), `initrd=ramdisk ` + mac + ` `, ``},
		{"uefi", "ipxe", strings.Replace(hostileWords+hostileToIPXE, "${", "$ {", -1), `kernel initrd=ramdisk ` + mac + ` `, ``},
		{"bios", "pxe", hostileWords, `BOOT_IMAGE=` + path + `kernel `, ` initrd=` + path + `ramdisk ` + mac},
		{"uefi", "pxe", hostileWords, `BOOT_IMAGE=\(tftp,[0-9.]+\)/` + path + `kernel ` + mac + ` `, ``},
	}
	for _, tt := range tests {
		t.Run(tt.firmware+"/"+tt.boot, func(t *testing.T) {
			s := newSite(t)
			m := s.machine("words", "--firmware", tt.firmware, "--memory", "384", "--disk", "64M")
			m.patch("/deploy_interface", "ramdisk")
			m.patch("/boot_interface", tt.boot)
			m.available()
			line := tt.line + " pad." // a name with a dot is for a module, so the kernel hands it to nobody
			line += strings.Repeat("x", boot.MaxCommandLine-len(line))
			info := s.tinyFiles()
			info["ramdisk_kernel_arguments"] = line + "x"
			m.patch("/instance_info", info)
			s.call("PUT", "/v1/nodes/"+m.uuid+"/states/provision", map[string]any{"target": "active"}, nil, 400)
			info["ramdisk_kernel_arguments"] = line
			m.patch("/instance_info", info)
			m.provision(map[string]any{"target": "active"})
			m.arrive("active", time.Minute)
			var got string
			s.eventually(8*time.Minute, "the kernel to say its parameters", func() (whole bool, _ string) {
				got, whole = saidParameters(m.console())
				return whole, tail(m.console(), 4000)
			})
			want := "^" + tt.before + regexp.QuoteMeta(line) + tt.after + "$"
			if !regexp.MustCompile(want).MatchString(got) {
				t.Errorf("the kernel got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

var parameterPiece = regexp.MustCompile(`BILLET-KERNEL-PARAMETERS (\d+) (\d+) ([0-9a-f]{8}) (.*?)\r?\n`)

// saidParameters puts the pieces together in which the tiny system says its kernel's command line.
func saidParameters(console []byte) (line string, whole bool) {
	pieces, length := map[string]string{}, -1
	for _, m := range parameterPiece.FindAllStringSubmatch(string(console), -1) {
		if fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(m[4]))) == m[3] {
			pieces[m[1]] = m[4]
			length, _ = strconv.Atoi(m[2])
		}
	}
	for len(line) < length {
		piece := pieces[strconv.Itoa(len(line))]
		if piece == "" {
			return line, false
		}
		line += piece
	}
	return line, len(line) == length
}

// tinyFiles is the instance_info of the tiny system's kernel and ramdisk, in a directory that users may name files in.
func (s *site) tinyFiles() map[string]any {
	s.t.Helper()
	images := filepath.Join(cache, "images")
	s.lab("image", "tiny-root", "--out", images)
	info := map[string]any{}
	for key, file := range map[string]string{"kernel": "tiny-root.vmlinuz", "ramdisk": "tiny-root.initrd"} {
		b, err := os.ReadFile(filepath.Join(images, file))
		if err == nil {
			err = os.WriteFile(filepath.Join(s.dir, file), b, 0o644)
		}
		if err != nil {
			s.t.Fatal(err)
		}
		info[key] = "file://" + filepath.Join(s.dir, file)
	}
	return info
}
