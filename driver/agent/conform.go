package agent

import "github.com/billet-metal/billet/driver"

var (
	_ driver.Deploy           = (*Direct)(nil)
	_ driver.InBand           = (*Direct)(nil)
	_ driver.LogCollector     = (*Direct)(nil)
	_ driver.Inspect          = (*Inspect)(nil)
	_ driver.InspectionResult = (*Inspect)(nil)
	_ driver.Tidier           = (*Inspect)(nil)
	_ driver.Tidier           = (*Rescue)(nil)
	_ driver.Stepper          = (*Rescue)(nil)
	_ driver.RAID             = (*RAID)(nil)
	_ driver.Stepper          = (*RAID)(nil)
)
