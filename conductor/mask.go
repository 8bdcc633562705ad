package conductor

import (
	"regexp"

	"github.com/billet-metal/billet/node"
)

// What may be secret in any machine's text, whatever the node knows: the random part of a boot file's URL, a
// password in a URL, and what follows a telling name.
var secretTexts = []struct {
	find    *regexp.Regexp
	replace string
}{
	{regexp.MustCompile(`(/?\bboot/)[0-9a-f]{16,}(/)`), "${1}…${2}"},
	{regexp.MustCompile(`(/b/)[0-9a-f]{32}\b`), "${1}…"}, // node.WithBootKey
	{regexp.MustCompile(`(\bdeployment_key=)[0-9a-f]+`), "${1}…"},
	{regexp.MustCompile(`(://[^/\s:@]*:)[^/\s@]+@`), "${1}******@"},
	{regexp.MustCompile(`(?i)\b([\w-]*(?:token|passw(?:or)?d|secret|configdrive|private_key)[\w-]*["']?\s*[=:]\s*)` +
		`("[^"]*"|'[^']*'|[^\s&,;]+)`), "${1}******"},
}

// mask takes secrets out of a machine's text.
func mask(n *node.Node, text string) string {
	text = scrub(n, text)
	for _, s := range secretTexts {
		text = s.find.ReplaceAllString(text, s.replace)
	}
	return text
}

func maskLines(n *node.Node, lines []node.Line) []node.Line {
	masked := make([]node.Line, len(lines))
	for i, l := range lines {
		masked[i] = node.Line{At: l.At, Text: mask(n, l.Text)}
	}
	return masked
}
