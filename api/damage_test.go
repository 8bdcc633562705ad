package api

import (
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

// Of a record whose value the store cannot read, the API shows null for it, and takes a new value but no part of one.
func TestADamagedRecordOfEveryKind(t *testing.T) {
	a := newServer(t).api
	hurt := node.Unreadable{"extra": "read a document: unexpected EOF"}
	checkDamage(t, recordKind[*portgroupKind](t, a), node.Portgroup{Unreadable: hurt})
	checkDamage(t, recordKind[*connectorKind](t, a), node.VolumeConnector{Unreadable: hurt})
	checkDamage(t, recordKind[*targetKind](t, a), node.VolumeTarget{Unreadable: hurt})
	checkDamage(t, recordKind[*chassisKind](t, a), node.Chassis{Unreadable: hurt})
	checkDamage(t, recordKind[*allocationKind](t, a), node.Allocation{Unreadable: hurt})
}

// recordKind is the kind of record of a type.
func recordKind[K kind](t *testing.T, a *API) K {
	t.Helper()
	for _, k := range a.kinds() {
		if k, ok := k.(K); ok {
			return k
		}
	}
	t.Fatal("there is no such kind")
	panic("")
}

func checkDamage[T, F any](t *testing.T, k *records[T, F], x T) {
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

// portFields are the fields of a port that clients may write.
func portFields(t *testing.T) string {
	t.Helper()
	return strings.Join(recordKind[*portKind](t, newServer(t).api).writable(), ", ")
}
