package api

import "strings"

// masked stands for a secret in every answer.
const masked = "******"

// secretWords mark a key as secret when they are part of its name, compared in lower case without
// "_" and "-". The list covers the names the field's own clients use for passwords, tokens and keys.
var secretWords = []string{
	"password", "passwd", "passphrase", "pswd", "secret", "token", "credential", "privatekey",
	"encryptedkey", "sslkey", "hexkgkey", "snmpauthkey", "snmpprivkey", "chap", "newpass", "adminpass",
	"authpass", "sshkey", "cookie", "configdrive",
}

func isSecret(key string) bool {
	key = strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(key))
	if key == "pass" || key == "pwd" {
		return true
	}
	for _, w := range secretWords {
		if strings.Contains(key, w) {
			return true
		}
	}
	return false
}

// maskAll returns a copy of v in which every value under a secret key is "******". Booleans and
// nulls stay: agent_secret_token_pregenerated tells something and gives nothing away.
func maskAll(v any) any {
	switch x := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(x))
		for k, e := range x {
			out[k] = maskUnder(k, e)
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i, e := range x {
			out[i] = maskAll(e)
		}
		return out
	}
	return v
}

func maskUnder(key string, v any) any {
	if !isSecret(key) {
		return maskAll(v)
	}
	switch v.(type) {
	case nil, bool:
		return v
	}
	return masked
}

// maskDocument masks a document of a node; nil becomes an empty object.
func maskDocument(d map[string]any) map[string]any {
	if d == nil {
		return map[string]any{}
	}
	return maskAll(d).(map[string]any)
}
