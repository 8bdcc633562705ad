package rules

import (
	"slices"
	"strings"

	"github.com/billet-metal/billet/node"
)

// noMask refuses to write what references show in place of a secret where a secret belongs: the mask would become the
// secret.
func noMask(path []string, v any) error {
	switch x := v.(type) {
	case string:
		if len(path) > 0 && node.SecretKey(path[len(path)-1]) && slices.Contains([]string{node.Mask, hiddenShown}, x) {
			return faultf("a reference shows a secret masked, and the mask cannot become the secret", "%s would be %q", strings.Join(path, "/"), x)
		}
	case map[string]any:
		for k, e := range x {
			if err := noMask(append(slices.Clone(path), k), e); err != nil {
				return err
			}
		}
	case []any:
		for _, e := range x {
			if err := noMask(path, e); err != nil {
				return err
			}
		}
	}
	return nil
}
