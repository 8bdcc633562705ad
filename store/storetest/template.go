package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

// addTemplate creates the deploy template CUSTOM_i with one step of priority i.
func addTemplate(t *testing.T, s Store, i int) node.DeployTemplate {
	t.Helper()
	d := node.DeployTemplate{
		UUID: uid(200_000 + i), Name: fmt.Sprintf("CUSTOM_%02d", i), Description: fmt.Sprint(i % 2),
		Steps: []node.PlannedStep{{Interface: node.Deploy, Step: "write_image", Priority: i}},
	}
	ok(t, s.DeployTemplates.Create(t.Context(), &d))
	return d
}

func testDeployTemplate(t *testing.T, s Store) {
	before := node.Now()
	want := node.DeployTemplate{
		UUID: strings.ToUpper(uid(1)), Name: "CUSTOM_RAID1", Description: "two disks as one", Extra: node.Document{"rack": 7.0},
		Steps: []node.PlannedStep{
			{Interface: node.RAID, Step: "create", Priority: 90, Args: map[string]any{"disks": 2.0, "password": "hush", "huge": "9007199254740993"}},
			{Interface: node.Power, Step: "reboot"},
		},
	}
	ok(t, s.DeployTemplates.Create(t.Context(), &want))
	if want.ID == 0 || want.CreatedAt.Before(before) || !want.UpdatedAt.Equal(want.CreatedAt) || want.UUID != uid(1) {
		t.Errorf("filled as %+v", want)
	}
	for _, ident := range []string{uid(1), strings.ToUpper(uid(1)), "CUSTOM_RAID1"} {
		got, err := s.DeployTemplates.Get(t.Context(), ident)
		ok(t, err)
		same(t, ident, got, want)
	}

	changed := want
	changed.Name, changed.Description, changed.Extra = "CUSTOM_PLAIN", "", nil
	changed.Steps = []node.PlannedStep{{Interface: node.Deploy, Step: "erase_devices_metadata", Priority: 95}}
	ok(t, s.DeployTemplates.Save(t.Context(), &changed))
	if !changed.UpdatedAt.After(want.UpdatedAt) {
		t.Errorf("updated %s, was %s", changed.UpdatedAt, want.UpdatedAt)
	}
	got, err := s.DeployTemplates.Get(t.Context(), uid(1))
	ok(t, err)
	same(t, "saved", got, changed)
	_, err = s.DeployTemplates.Get(t.Context(), "CUSTOM_RAID1")
	refused(t, err, node.NotFound, "Deploy template CUSTOM_RAID1 could not be found.")

	ok(t, s.DeployTemplates.Delete(t.Context(), strings.ToUpper(uid(1))))
	refused(t, s.DeployTemplates.Delete(t.Context(), uid(1)), node.NotFound, "Deploy template "+uid(1)+" could not be found.")
	refused(t, s.DeployTemplates.Save(t.Context(), &changed), node.NotFound, "Deploy template "+uid(1)+" could not be found.")

	fresh := node.DeployTemplate{Name: "CUSTOM_RAID1"}
	ok(t, s.DeployTemplates.Create(t.Context(), &fresh))
	if got, err := s.DeployTemplates.Get(t.Context(), fresh.UUID); err != nil || got.Name != "CUSTOM_RAID1" || got.ID <= want.ID {
		t.Errorf("with a UUID of the store's: %+v, %v", got, err)
	}
}

func testDeployTemplateRefusals(t *testing.T, s Store) {
	addTemplate(t, s, 1)
	second := addTemplate(t, s, 2)
	for _, tt := range []struct {
		d    node.DeployTemplate
		kind node.Kind
		want string
	}{
		{node.DeployTemplate{Name: "CUSTOM_01"}, node.Conflict, "A deploy template with name CUSTOM_01 already exists."},
		{node.DeployTemplate{Name: "CUSTOM_X", UUID: second.UUID}, node.Conflict,
			"A deploy template with UUID " + second.UUID + " already exists."},
		{node.DeployTemplate{Name: "CUSTOM_X", UUID: "x"}, node.Invalid, "Expected a UUID but received x."},
	} {
		refused(t, s.DeployTemplates.Create(t.Context(), &tt.d), tt.kind, tt.want)
	}
	second.Name = "CUSTOM_01"
	refused(t, s.DeployTemplates.Save(t.Context(), &second), node.Conflict, "A deploy template with name CUSTOM_01 already exists.")
	for _, ident := range []string{"", "CUSTOM_9", uid(9)} {
		_, err := s.DeployTemplates.Get(t.Context(), ident)
		refused(t, err, node.NotFound, "Deploy template "+ident+" could not be found.")
	}
	for _, tt := range []struct {
		page node.Page
		kind node.Kind
		want string
	}{
		{node.Page{SortKey: "steps"}, node.Invalid, `The sort_key value "steps" is an invalid field for sorting`},
		{node.Page{Marker: uid(9)}, node.NotFound, "Deploy template " + uid(9) + " could not be found."},
	} {
		_, err := s.DeployTemplates.List(t.Context(), node.DeployTemplateFilter{}, tt.page)
		refused(t, err, tt.kind, tt.want)
	}
}

func testDeployTemplateLists(t *testing.T, s Store) {
	for i := range 11 {
		addTemplate(t, s, 10-i) // names fall while ids grow
	}
	for _, tt := range []struct {
		key   string
		desc  bool
		first []int
	}{
		{"", false, []int{10, 9, 8}}, {"id", true, []int{0, 1, 2}}, {"name", false, []int{0, 1, 2}}, {"name", true, []int{10, 9, 8}},
		{"description", false, []int{10, 8, 6}}, {"uuid", false, []int{0, 1, 2}}, {"updated_at", false, []int{10, 9, 8}},
	} {
		var got []int
		p := node.Page{Limit: 4, SortKey: tt.key, SortDesc: tt.desc}
		for {
			page, err := s.DeployTemplates.List(t.Context(), node.DeployTemplateFilter{}, p)
			ok(t, err)
			for _, d := range page {
				got = append(got, d.Steps[0].Priority)
			}
			if len(page) < p.Limit {
				break
			}
			p.Marker = page[len(page)-1].UUID
		}
		same(t, "order by "+tt.key, got[:3], tt.first)
		slices.Sort(got)
		same(t, "all by "+tt.key, got, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
	}
	for _, tt := range []struct{ names, want []string }{
		{[]string{"CUSTOM_99"}, nil},
		{[]string{"CUSTOM_03", "HW_CPU_X86_VMX", "CUSTOM_07"}, []string{"CUSTOM_07", "CUSTOM_03"}},
	} {
		templates, err := s.DeployTemplates.List(t.Context(), node.DeployTemplateFilter{Names: tt.names}, node.Page{})
		ok(t, err)
		var got []string
		for _, d := range templates {
			got = append(got, d.Name)
		}
		same(t, fmt.Sprint(tt.names), got, tt.want)
	}
}
