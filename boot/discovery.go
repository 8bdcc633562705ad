package boot

import "context"

// Discovering is a Lookup that boots machines no node knows with one record of its own, so that
// they can tell about themselves. Without it an unknown machine gets nothing.
type Discovering struct {
	Lookup
	Record Record // NodeUUID empty; Secret of this process; Until is not looked at
}

// Machine is described on Lookup.
func (d Discovering) Machine(ctx context.Context, mac string) (Machine, error) {
	m, err := d.Lookup.Machine(ctx, mac)
	if err == nil && !m.Known() {
		m.Record = &d.Record
	}
	return m, err
}

// RecordBySecret is described on Lookup.
func (d Discovering) RecordBySecret(ctx context.Context, secret string) (*Record, error) {
	if d.Record.Secret != "" && secret == d.Record.Secret {
		return &d.Record, nil
	}
	return d.Lookup.RecordBySecret(ctx, secret)
}
