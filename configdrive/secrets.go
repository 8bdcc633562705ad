package configdrive

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/billet-metal/billet/node"
)

// A program that quotes what it was given rarely quotes a whole file: one line of a script in an error tells the password
// in it. So secrets of a drive are looked for line by line.

// Bounds of what is looked for of a drive's files.
const (
	mostSecretLines = 2000
	longestSecret   = 256 << 10
)

// Secrets are the user data of a drive, as a whole and by its lines, and what its documents keep under secret keys. A text
// that is no drive has none that an agent could read either.
func Secrets(drive string) (found []string) {
	if drive == "" || strings.Contains(drive, "://") {
		return nil
	}
	image, err := Decode(drive)
	if err != nil {
		return nil
	}
	files, err := Read(image)
	if err != nil {
		return nil
	}
	for _, f := range files {
		found = append(found, f.secrets()...)
	}
	return found
}

func (f File) secrets() []string {
	text := string(f.Data)
	switch {
	case len(text) > longestSecret:
		return secretLines(text[:longestSecret])
	case strings.HasSuffix(f.Path, "user_data"):
		found := append([]string{text}, secretLines(text)...)
		if plain, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), "")); err == nil {
			found = append(append(found, string(plain)), secretLines(string(plain))...)
		}
		return found
	case strings.HasSuffix(f.Path, ".json"):
		var v any
		if json.Unmarshal(f.Data, &v) == nil {
			return node.SecretTexts(v)
		}
	case strings.Contains(f.Path, "content/"): // injected files
		return secretLines(text)
	}
	return nil
}

// secretLines are the lines of a text that are long enough to mean something, and the values of those that have a name
// of a secret.
func secretLines(text string) (found []string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if len(line) < 8 || strings.HasPrefix(line, "#") {
			continue
		}
		if len(found) >= mostSecretLines {
			break
		}
		found = append(found, line)
		if value := secretValue(line); value != "" {
			found = append(found, value)
		}
	}
	return found
}

// secretValue is the value of a line "name: value" or "name=value" that may be secret; "" when none is.
func secretValue(line string) string {
	i := strings.IndexAny(line, ":=")
	if i <= 0 {
		return ""
	}
	value := strings.Trim(strings.TrimSpace(line[i+1:]), `"'`)
	name := strings.TrimLeft(line[:i], "- ")
	telling := !strings.Contains(name, " ") && len(value) >= 8 && !strings.Contains(value, " ")
	if node.SecretKey(name) || telling {
		return value
	}
	return ""
}
