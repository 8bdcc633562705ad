package node

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// shortestSecret is the shortest text that is hidden: shorter ones are in every second word.
const shortestSecret = 4

// Secrets are the texts that a node keeps secret: its agent's token, its config drive as it is carried, what stands under
// secret keys of its documents and of its steps' arguments, and the logins and signatures of its URLs.
func (n *Node) Secrets() []string {
	found := []string{n.Agent.Token, n.ConfigDrive}
	documents := []Document{n.DriverInfo, n.InstanceInfo, n.DriverInternalInfo, n.NetworkData}
	if n.Plan != nil {
		for _, s := range n.Plan.Steps {
			documents = append(documents, s.Args)
		}
	}
	for _, d := range documents {
		found = append(found, SecretTexts(map[string]any(d))...)
		found = append(found, secretsOfURLs(map[string]any(d))...)
	}
	return found
}

// secretsOfURLs are the passwords and the queries, which may be signatures, of the URLs in a JSON value.
func secretsOfURLs(v any) (found []string) {
	switch x := v.(type) {
	case map[string]any:
		for _, e := range x {
			found = append(found, secretsOfURLs(e)...)
		}
	case []any:
		for _, e := range x {
			found = append(found, secretsOfURLs(e)...)
		}
	case string:
		if !strings.Contains(x, "://") {
			return nil
		}
		u, err := url.Parse(x)
		if err != nil {
			return []string{x}
		}
		if password, ok := u.User.Password(); ok {
			found = append(found, password)
		}
		if len(u.RawQuery) >= 8 {
			found = append(found, u.RawQuery)
		}
	}
	return found
}

// Hider hides secrets in the words of others, in whichever encoding they quote them.
type Hider struct{ replacer *strings.Replacer }

// NewHider hides these secrets; of two that overlap, the longer.
func NewHider(secrets []string) *Hider {
	var forms []string
	for _, s := range secrets {
		if len(s) >= shortestSecret && s != Mask {
			forms = append(forms, encodings(s)...)
		}
	}
	slices.SortFunc(forms, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
	})
	var pairs []string
	for _, f := range slices.Compact(forms) {
		if len(f) >= shortestSecret {
			pairs = append(pairs, f, Mask)
		}
	}
	return &Hider{strings.NewReplacer(pairs...)}
}

// Hide is text with the secrets masked, and the signatures of temporary URLs, which are made for one use and kept nowhere.
func (h *Hider) Hide(text string) string {
	return signature.ReplaceAllString(h.replacer.Replace(text), "${1}"+Mask)
}

// signature is that of a temporary URL of Swift (its middleware tempurl).
var signature = regexp.MustCompile(`(temp_url_sig(?:=|%3[dD]))[0-9a-zA-Z]+`)

// encodings are the forms in which programs quote a text: as it is, in JSON (once, and once more inside JSON), as a Go or
// Python literal, in a URL, in hexadecimal, and in base64, also inside a longer base64 text.
func encodings(s string) []string {
	quoted := inJSON(s)
	forms := []string{s, quoted, inJSON(quoted), plainJSON(s), trimQuotes(strconv.Quote(s)), trimQuotes(strconv.QuoteToASCII(s))}
	for _, u := range []string{url.QueryEscape(s), url.PathEscape(s)} {
		forms = append(forms, u, percent.ReplaceAllStringFunc(u, strings.ToLower))
	}
	digits := hex.EncodeToString([]byte(s))
	forms = append(forms, digits, strings.ToUpper(digits))
	forms = append(forms, base64.RawStdEncoding.EncodeToString([]byte(s)), base64.RawURLEncoding.EncodeToString([]byte(s)))
	return append(forms, insideBase64(s)...)
}

var percent = regexp.MustCompile(`%[0-9A-F]{2}`)

func inJSON(s string) string {
	b, _ := json.Marshal(s) // a string always encodes
	return trimQuotes(string(b))
}

// plainJSON is JSON without the escapes for HTML, which few but Go write.
func plainJSON(s string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return trimQuotes(strings.TrimSuffix(b.String(), "\n"))
}

func trimQuotes(s string) string { return strings.TrimSuffix(strings.TrimPrefix(s, `"`), `"`) }

// insideBase64 are the characters that a text gives to the base64 of something that it is a part of: three, by where it
// begins (RFC 4648, section 4: three bytes are four characters), without those it shares with its neighbours.
func insideBase64(s string) (forms []string) {
	for before := range 3 {
		bytes := append(make([]byte, before), s...)
		from, to := (before*8+5)/6, len(bytes)*8/6
		if to-from < 2*shortestSecret {
			continue
		}
		for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			forms = append(forms, e.EncodeToString(bytes)[from:to])
		}
	}
	return forms
}
