package node

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// A secret is hidden in whatever form a program quotes it; the rest of the text stays.
func TestSecretsAreHiddenInEveryEncoding(t *testing.T) {
	secrets := []string{`hunter2 <"é'\>&/+`, "two\nlines: of data", "calvin-1"}
	h := NewHider(secrets)
	for _, s := range secrets {
		j, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		jj, err := json.Marshal(string(j))
		if err != nil {
			t.Fatal(err)
		}
		var plain strings.Builder
		enc := json.NewEncoder(&plain)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(s); err != nil {
			t.Fatal(err)
		}
		for form, text := range map[string]string{
			"plain": s, "JSON": string(j), "JSON in JSON": string(jj), "JSON without HTML": plain.String(),
			"Go": strconv.Quote(s), "Go in ASCII": strconv.QuoteToASCII(s),
			"query": url.QueryEscape(s), "path": url.PathEscape(s),
			"query in small": percent.ReplaceAllStringFunc(url.QueryEscape(s), strings.ToLower),
			"base64":         base64.StdEncoding.EncodeToString([]byte(s)), "base64 for URLs": base64.URLEncoding.EncodeToString([]byte(s)),
			"a login":        base64.StdEncoding.EncodeToString([]byte("root:" + s)),
			"inside base64":  base64.StdEncoding.EncodeToString([]byte("chpasswd: " + s + "\nand more")),
			"inside, by one": base64.RawURLEncoding.EncodeToString([]byte("x" + s + "y")),
			"hex":            hex.EncodeToString([]byte(s)), "HEX": fmt.Sprintf("%X", s),
		} {
			got := h.Hide("before " + text + " after")
			if !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " after") || !strings.Contains(got, Mask) {
				t.Errorf("%s of %q: %s", form, s, got)
			}
			if b, err := base64.StdEncoding.DecodeString(text); err == nil && strings.Contains(string(b), s) {
				if left, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(strings.TrimPrefix(got, "before "), " after")); err == nil &&
					strings.Contains(string(left), s) {
					t.Errorf("%s of %q can still be read: %s", form, s, got)
				}
			}
			for _, rest := range []string{s, text} {
				if strings.Contains(got, rest) {
					t.Errorf("%s of %q is left: %s", form, s, got)
				}
			}
		}
	}
	if got := h.Hide("no secret, only words: hunter, calvin"); got != "no secret, only words: hunter, calvin" {
		t.Error(got)
	}
	if got := NewHider([]string{"", "abc", Mask, "hunter2", "hunter22"}).Hide("abc hunter22 ****** hunter2"); got !=
		"abc ****** ****** ******" {
		t.Error(got)
	}
}

// What a node keeps secret, wherever it stands.
func TestSecretsOfANode(t *testing.T) {
	n := &Node{
		ConfigDrive: "H4sIdrive", Agent: Agent{Token: "agent-token"},
		DriverInfo: Document{"ipmi_password": "bmc-secret", "ipmi_address": "192.0.2.1",
			"deep": map[string]any{"auth_token": []any{"deep-secret"}}},
		InstanceInfo: Document{"image_source": "https://ada:url-secret@images.example/i?signature=0123456789",
			"hashed_rescue_password": "$6$hash"},
		DriverInternalInfo: Document{"boot_secret": "internal-secret"},
		Plan:               &Plan{Steps: []PlannedStep{{Args: Document{"password": "step-secret"}}}},
	}
	text := "H4sIdrive agent-token bmc-secret deep-secret url-secret signature=0123456789 $6$hash " +
		"internal-secret step-secret 192.0.2.1 images.example"
	want := strings.Repeat("****** ", 9) + "192.0.2.1 images.example"
	if got := NewHider(n.Secrets()).Hide(text); got != want {
		t.Error(got)
	}
}
