package steps

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/billet-metal/billet/disk/erase"
	"github.com/billet-metal/billet/wire"
)

// eraseSettings are the service's wishes in driver_internal_info, by Ironic's names.
type eraseSettings struct {
	erase.Options
	concurrency  int
	skipReadOnly bool
}

// readEraseSettings reads them. Defaults are Ironic's, but that overwriting is one pass of zeros.
func readEraseSettings(info map[string]any) (eraseSettings, error) {
	s := eraseSettings{Options: erase.Options{ATA: true, NVMe: true}, concurrency: 4}
	zeroize := true
	for _, f := range []struct {
		key string
		out *bool
	}{
		{wire.EraseATA, &s.ATA}, {wire.EraseNVMe, &s.NVMe},
		{wire.EraseOverwritesATA, &s.Overwrite}, // the newer name decides
		{wire.EraseOverwrites, &s.Overwrite}, {wire.EraseSkips, &s.skipReadOnly},
		{wire.EraseZeros, &zeroize},
	} {
		v, given := info[f.key]
		if !given || v == nil {
			continue
		}
		b, err := strconv.ParseBool(fmt.Sprint(v))
		if err != nil {
			return s, fmt.Errorf("driver_internal_info/%s is %v; true and false are allowed", f.key, v)
		}
		*f.out = b
	}
	for _, f := range []struct {
		key       string
		low, high int
		out       *int
	}{
		{wire.EraseAtOnce, 1, math.MaxInt, &s.concurrency}, {wire.ErasePasses, 0, 100, &s.Passes.Random},
	} {
		v, given := info[f.key]
		if !given || v == nil {
			continue
		}
		n, err := strconv.Atoi(fmt.Sprint(v))
		if err != nil || n < f.low || n > f.high {
			allowed := fmt.Sprintf("from %d to %d", f.low, f.high)
			if f.high == math.MaxInt {
				allowed = fmt.Sprintf("of at least %d", f.low)
			}
			return s, fmt.Errorf("driver_internal_info/%s is %v; a whole number %s is allowed", f.key, v, allowed)
		}
		*f.out = n
	}
	s.Passes.NoZeros = !zeroize
	if s.Passes.NoZeros && s.Passes.Random == 0 {
		return s, errors.New("driver_internal_info/" + wire.EraseZeros + " is false and " + wire.ErasePasses +
			" is 0, so overwriting would write nothing")
	}
	return s, nil
}
