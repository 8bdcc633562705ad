package agent

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/billet-metal/billet/agent/steps"
	"github.com/billet-metal/billet/wire"
)

// A command's error carries what became of each disk.
func TestACommandsErrorHasTheDisks(t *testing.T) {
	disks := []wire.ErasedDisk{{Name: "/dev/sda", Error: "worn out"}, {Name: "/dev/sdb", Method: "well"}}
	told := commandError("execute_clean_step", fmt.Errorf("wrapped: %w", &steps.EraseFailed{Err: errors.New("erasing"), Disks: disks}))
	if !reflect.DeepEqual(told.Disks, disks) {
		t.Errorf("%+v", told)
	}
}
