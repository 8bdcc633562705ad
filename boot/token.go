package boot

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"path"
	"strings"
)

// tokenPrefix begins the name of the file in which a deploy ramdisk of the iSCSI family finds its
// token: "token-<deployment id>", by TFTP or on its virtual medium.
const tokenPrefix = "token-"

// DeployToken is what the ramdisk of this boot shows as X-Auth-Token. It is made of what the record hides, not of
// what its script shows, so that whoever has read the script still lacks it; it ends with the record.
func (r *Record) DeployToken() string { return r.derive("token") }

// DeployKey is what the ramdisk of this boot gives back as the key of its kernel parameters.
func (r *Record) DeployKey() string { return r.derive("key")[:32] }

func (r *Record) derive(purpose string) string {
	from := r.Hidden
	if from == "" { // a record from before there was anything hidden in one
		from = r.Secret
	}
	h := hmac.New(sha256.New, []byte(from))
	h.Write([]byte("iscsi " + purpose + " " + r.NodeUUID))
	return hex.EncodeToString(h.Sum(nil))
}

// DeploymentID reads the name a TFTP client asks for a token by. Clients differ in what they put
// before it: busybox (-r token-ID) and tftp-hpa (get token-ID) nothing, some a folder.
func DeploymentID(name string) (id string, ok bool) {
	return strings.CutPrefix(path.Base(name), tokenPrefix)
}

// Token is the machine's own token when id is the deployment under way on it, else "": nobody
// gets another machine's.
func (m Machine) Token(id string) string {
	r := m.Boots()
	if r == nil || id == "" || m.NodeUUID != id || !strings.Contains(r.CommandLine, "deployment_id="+id) {
		return ""
	}
	return r.DeployToken()
}
