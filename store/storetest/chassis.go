package storetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

func testChassis(t *testing.T, s Store) {
	want := node.Chassis{UUID: strings.ToUpper(uid(10)), Description: "rack 7", Extra: node.Document{"row": 2.0}}
	ok(t, s.Chassis.Create(t.Context(), &want))
	got, err := s.Chassis.Get(t.Context(), strings.ToUpper(uid(10)))
	ok(t, err)
	same(t, "created", got, want)
	refused(t, s.Chassis.Create(t.Context(), &node.Chassis{UUID: uid(10)}), node.Conflict, "A chassis with UUID "+uid(10)+" already exists.")
	refused(t, s.Chassis.Create(t.Context(), &node.Chassis{UUID: "x"}), node.Invalid, "Expected a UUID but received x.")
	changed := want
	changed.Description, changed.Extra = "", node.Document{}
	ok(t, s.Chassis.Save(t.Context(), &changed))
	got, err = s.Chassis.Get(t.Context(), uid(10))
	ok(t, err)
	same(t, "saved", got, changed)

	// One with nodes stays.
	add(t, s, 1, func(n *node.Node) { n.ChassisUUID = uid(10) })
	refused(t, s.Chassis.Delete(t.Context(), strings.ToUpper(uid(10))), node.Invalid,
		"Chassis "+uid(10)+" cannot be deleted: it has nodes, which must leave it first.")
	ok(t, s.DeleteNode(t.Context(), reserve(t, s, 1)))
	ok(t, s.Chassis.Delete(t.Context(), strings.ToUpper(uid(10))))
	missing := "Chassis " + uid(10) + " could not be found."
	refused(t, s.Chassis.Delete(t.Context(), uid(10)), node.NotFound, missing)
	refused(t, s.Chassis.Save(t.Context(), &changed), node.NotFound, missing)
	_, err = s.Chassis.Get(t.Context(), uid(10))
	refused(t, err, node.NotFound, missing)

	for i := range 5 {
		ok(t, s.Chassis.Create(t.Context(), &node.Chassis{UUID: uid(20 + i), Description: fmt.Sprint(9 - i)}))
	}
	for _, tt := range []struct {
		key, want string
		desc      bool
	}{{"", "98765", false}, {"id", "56789", true}, {"description", "56789", false}, {"uuid", "56789", true}, {"created_at", "98765", false}} {
		got, p := "", node.Page{Limit: 2, SortKey: tt.key, SortDesc: tt.desc}
		for more := true; more; {
			page, err := s.Chassis.List(t.Context(), node.All{}, p)
			ok(t, err)
			for _, c := range page {
				got, p.Marker = got+c.Description, c.UUID
			}
			more = len(page) == p.Limit
		}
		same(t, "by "+tt.key, got, tt.want)
	}
	_, err = s.Chassis.List(t.Context(), node.All{}, node.Page{SortKey: "extra"})
	refused(t, err, node.Invalid, `The sort_key value "extra" is an invalid field for sorting`)
	_, err = s.Chassis.List(t.Context(), node.All{}, node.Page{Marker: uid(9)})
	refused(t, err, node.NotFound, "Chassis "+uid(9)+" could not be found.")
}
