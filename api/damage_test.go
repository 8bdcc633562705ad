package api

import (
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

// Of a record whose value the store cannot read, the API shows null for it, and takes a new value but no part of one.
func TestADamagedRecordOfEveryKind(t *testing.T) {
	hurt := node.Unreadable{"extra": "read a document: unexpected EOF"}
	checkDamage(t, portgroups, node.Portgroup{Unreadable: hurt})
	checkDamage(t, volumeConnectors, node.VolumeConnector{Unreadable: hurt})
	checkDamage(t, volumeTargets, node.VolumeTarget{Unreadable: hurt})
	checkDamage(t, chassis, node.Chassis{Unreadable: hurt})
	checkDamage(t, allocations, node.Allocation{Unreadable: hurt})
}

func checkDamage[T any](t *testing.T, k *records[T], x T) {
	t.Helper()
	c := &call{version: maxVersion}
	if got, shown := k.json(c, []T{x}, []string{"uuid", "extra"})[0]["extra"]; !shown || got != nil {
		t.Errorf("%s: shown as %v", k.name, got)
	}
	part := []patchOp{{Op: "add", Path: "/extra/a", raw: []byte(`{"op": "add", "path": "/extra/a", "value": "b"}`)}}
	if err := k.apply(c, &x, part); err == nil || strings.Contains(err.Error(), "EOF") {
		t.Errorf("%s: a part of it was written: %v", k.name, err)
	}
	whole := []patchOp{{Op: "add", Path: "/extra", raw: []byte(`{"op": "add", "path": "/extra", "value": {"a": "b"}}`)}}
	if err := k.apply(c, &x, whole); err != nil {
		t.Errorf("%s: written anew: %v", k.name, err)
	}
}
