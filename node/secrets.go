package node

import "strings"

// Mask stands for a secret wherever a document is shown.
const Mask = "******"

// secretWords mark a key of a document as secret when they are part of its name, compared in lower case without
// "_", "-" and spaces. The list covers the names Ironic's own clients use for passwords, tokens and keys.
var secretWords = []string{
	"password", "passwd", "passphrase", "pswd", "secret", "token", "credential", "authorization", "privatekey",
	"encryptedkey", "sslkey", "kgkey", "authkey", "privkey", "chap", "newpass", "adminpass",
	"authpass", "sshkey", "cookie", "configdrive",
}

// SecretKey reports whether the value under key is a secret, by the key's name.
func SecretKey(key string) bool {
	key = strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(key))
	if key == "pass" || key == "pwd" {
		return true
	}
	for _, word := range secretWords {
		if strings.Contains(key, word) {
			return true
		}
	}
	return false
}

// Masked copies a JSON value; what stands under a secret key, at any depth, is Mask. Booleans and nulls stay:
// agent_secret_token_pregenerated tells something and gives nothing away.
func Masked(v any) any {
	switch x := v.(type) {
	case map[string]any:
		return MaskedDocument(x)
	case []any:
		out := make([]any, len(x))
		for i, e := range x {
			out[i] = Masked(e)
		}
		return out
	}
	return v
}

// MaskedDocument is Masked of a document; nil becomes an empty one.
func MaskedDocument(d map[string]any) map[string]any {
	out := make(map[string]any, len(d))
	for k, v := range d {
		out[k] = maskedUnder(k, v)
	}
	return out
}

func maskedUnder(key string, v any) any {
	if !SecretKey(key) {
		return Masked(v)
	}
	switch v.(type) {
	case nil, bool:
		return v
	}
	return Mask
}

// SecretTexts lists the texts that Masked of a JSON value would not show.
func SecretTexts(v any) []string { return secretTexts(v, false) }

func secretTexts(v any, secret bool) (found []string) {
	switch x := v.(type) {
	case map[string]any:
		for k, e := range x {
			found = append(found, secretTexts(e, secret || SecretKey(k))...)
		}
	case []any:
		for _, e := range x {
			found = append(found, secretTexts(e, secret)...)
		}
	default:
		if text := (Document{"": x}).Text(""); secret && text != "" {
			found = append(found, text)
		}
	}
	return found
}
