package configdrive

import "testing"

func TestWhereADriveIsKept(t *testing.T) {
	const uuid = "1be26c0b-03f2-4d2e-ae87-c02d7f33c123"
	own := Kept{"drives", KeptObject(uuid) + "20261130"}
	if got, ok := KeptOf(own.String(), uuid); !ok || got != own {
		t.Errorf("%v %v of %s", got, ok, own)
	}
	for name, text := range map[string]string{
		"none": "", "a drive": "H4sIAAAA", "a URL": "https://example.org/" + KeptObject(uuid) + "1",
		"another node's": Kept{"drives", "2" + KeptObject(uuid)[1:] + "1"}.String(), "no container": Kept{"", own.Object}.String(),
		"a folder": Kept{"drives", own.Object + "/../x"}.String(), "no object": "object:drives",
	} {
		if got, ok := KeptOf(text, uuid); ok {
			t.Errorf("%s: %v", name, got)
		}
	}
	if _, ok := KeptOf(Kept{"drives", "-1"}.String(), ""); ok {
		t.Error("a node without a UUID has a drive")
	}
}
