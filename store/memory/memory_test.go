package memory_test

import (
	"testing"

	"github.com/billet-metal/billet/store/memory"
	"github.com/billet-metal/billet/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Store { return storetest.Memory(memory.New()) })
}
