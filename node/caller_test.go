package node

import "testing"

const testKey = "0123456789abcdef0123456789abcdef"

func TestBootKeyInAPath(t *testing.T) {
	if got := WithBootKey("http://10.0.0.1:6386/", testKey); got != "http://10.0.0.1:6386/b/"+testKey {
		t.Error(got)
	}
	for path, want := range map[string][2]string{
		"/b/" + testKey + "/v1/lookup": {testKey, "/v1/lookup"},
		"/b/" + testKey:                {testKey, "/"},
		"/b/" + testKey + "//v1":       {testKey, "//v1"},
		"/b/" + testKey + "0/v1":       {"", "/b/" + testKey + "0/v1"},
		"/b/" + testKey[:30] + "/v1":   {"", "/b/" + testKey[:30] + "/v1"},
		"/b/g" + testKey[1:] + "/v1":   {"", "/b/g" + testKey[1:] + "/v1"},
		"/v1/b/" + testKey:             {"", "/v1/b/" + testKey},
		"b/" + testKey:                 {"", "b/" + testKey},
		"/b/":                          {"", "/b/"},
		"":                             {"", ""},
	} {
		key, rest, ok := CutBootKey(path)
		if key != want[0] || rest != want[1] || ok != (want[0] != "") {
			t.Errorf("%s: %q %q %v", path, key, rest, ok)
		}
	}
}

func TestMaskBootKeys(t *testing.T) {
	for text, want := range map[string]string{
		"ipa-api-url=http://h/b/" + testKey + " x=http://h/b/" + testKey + "/v1": "ipa-api-url=http://h/b/****** x=http://h/b/******/v1",
		"/b/" + testKey + "ff": "/b/" + testKey + "ff",
		"/b/ /b/":              "/b/ /b/",
		"":                     "",
	} {
		if got := MaskBootKeys(text); got != want {
			t.Errorf("%s: %s", text, got)
		}
	}
}
