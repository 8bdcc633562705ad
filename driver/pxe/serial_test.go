package pxe

import (
	"context"
	"testing"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/driver"
)

// talking is a management interface that hears the serial line.
type talking struct{ *world }

func (talking) ListenSerial(context.Context, *driver.Task, func([]byte)) error { return nil }

// A ramdisk whose machine's serial line is heard is told to speak there, in few words; what people say themselves
// stands.
func TestTheRamdiskSpeaksOnTheSerialLine(t *testing.T) {
	const url = "ipa-api-url=http://10.99.0.1:6385"
	for _, tt := range []struct {
		name  string
		edit  func(*Boot, *driver.Task)
		want  string
		heard bool
	}{
		{"heard", func(*Boot, *driver.Task) {}, "nofb vga=normal " + url + " console=tty0 console=ttyS0,115200n8 loglevel=5", true},
		{"another line", func(b *Boot, _ *driver.Task) { b.SerialConsole = "ttyAMA0" }, "nofb vga=normal " + url +
			" console=tty0 console=ttyAMA0 loglevel=5", true},
		{"no line named", func(b *Boot, _ *driver.Task) { b.SerialConsole = "" }, "nofb vga=normal " + url, true},
		{"not heard", func(b *Boot, _ *driver.Task) { b.CaptureSerial = false }, "nofb vga=normal " + url, true},
		{"not heard of this node", func(_ *Boot, t *driver.Task) { t.Node.DriverInfo["capture_serial"] = "false" }, "nofb vga=normal " + url,
			true},
		{"the hardware cannot", func(*Boot, *driver.Task) {}, "nofb vga=normal " + url, false},
		{"a console of the node's own", func(_ *Boot, t *driver.Task) { t.Node.DriverInfo["kernel_append_params"] = "console=ttyS1" },
			"console=ttyS1 " + url, true},
		{"its own level", func(_ *Boot, t *driver.Task) { t.Node.DriverInfo["kernel_append_params"] = "%default% loglevel=8" },
			"nofb vga=normal loglevel=8 " + url + " console=tty0 console=ttyS0,115200n8", true},
		{"quiet", func(_ *Boot, t *driver.Task) { t.Node.DriverInfo["kernel_append_params"] = "quiet" },
			"quiet " + url + " console=tty0 console=ttyS0,115200n8", true},
		{"a word like it", func(_ *Boot, t *driver.Task) { t.Node.DriverInfo["kernel_append_params"] = "netconsole=x" },
			"netconsole=x " + url + " console=tty0 console=ttyS0,115200n8 loglevel=5", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, w, task := setUp(t, boot.IPXE)
			b.CaptureSerial, b.SerialConsole = true, "ttyS0,115200n8"
			if tt.heard {
				task.Hardware.Management = talking{w}
			}
			tt.edit(b, task)
			if err := b.PrepareRamdisk(t.Context(), task, nil); err != nil {
				t.Fatal(err)
			}
			if got := keyless(w.records[uuid]); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}
