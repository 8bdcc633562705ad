package driver

import (
	"context"
	"testing"

	"github.com/billet-metal/billet/node"
)

// talking is a management interface that hears the serial line; deaf is one that does not.
type (
	deaf    struct{ Management }
	talking struct{ Management }
)

func (talking) ListenSerial(context.Context, *Task, func([]byte)) error { return nil }

func TestSerialOf(t *testing.T) {
	hears := &Hardware{Management: talking{}}
	for _, tt := range []struct {
		name     string
		hardware *Hardware
		info     any // driver_info/capture_serial
		console  bool
		service  bool
		want     bool
	}{
		{"as the service says: yes", hears, nil, false, true, true},
		{"as the service says: no", hears, nil, false, false, false},
		{"the node wants it", hears, true, false, false, true},
		{"the node wants it, as text", hears, "True", false, false, true},
		{"the node does not", hears, false, false, true, false},
		{"the node does not, as text", hears, "false", false, true, false},
		{"nothing said as text", hears, "", false, true, true},
		{"a number is no answer", hears, 1.0, false, false, false},
		{"its console is in use", hears, true, true, true, false},
		{"the hardware cannot", &Hardware{Management: deaf{}}, true, false, true, false},
		{"no hardware", nil, true, false, true, false},
	} {
		n := &node.Node{ConsoleEnabled: tt.console, DriverInfo: node.Document{}}
		if tt.info != nil {
			n.DriverInfo[CaptureSerial] = tt.info
		}
		if l, ok := SerialOf(n, tt.hardware, tt.service); ok != tt.want || ok && l == nil {
			t.Errorf("%s: %t", tt.name, ok)
		}
	}
}
