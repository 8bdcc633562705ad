package configdrive

import "strings"

// Kept names a drive that lies in a store of objects instead of the database. A node has it in its drive's place, as text.
type Kept struct{ Container, Object string }

// keptScheme begins such a text. Nothing else that a node may have does: base64 has no colon, and URLs begin with http.
const keptScheme = "object:"

func (k Kept) String() string { return keptScheme + k.Container + "/" + k.Object }

// KeptObject begins the names of all objects with drives of a node.
func KeptObject(nodeUUID string) string { return nodeUUID + "-" }

// KeptOf reads what a node has in its drive's place. A node has drives of its own alone: whoever may write its drive names no
// other's.
func KeptOf(text, nodeUUID string) (Kept, bool) {
	rest, kept := strings.CutPrefix(text, keptScheme)
	container, object, whole := strings.Cut(rest, "/")
	own := nodeUUID != "" && strings.HasPrefix(object, KeptObject(nodeUUID)) && !strings.Contains(object, "/")
	return Kept{container, object}, kept && whole && own && container != ""
}
