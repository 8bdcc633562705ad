package classic

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/billet-metal/billet/disk/bootable"
)

// Where a BMC's virtual medium has the token: in this file, on a medium with this label.
const (
	tokenFile  = "token"
	mediaLabel = "ir-vfd-dev"
)

// maxToken bounds a token.
const maxToken = 1024

// fetchToken gets the token of the deployment: from a labelled medium, else by TFTP.
func (r *Ramdisk) fetchToken(ctx context.Context) error {
	c := r.Params
	text, from, err := r.tokenOnMedia()
	if err == nil && from == "" {
		if c.Media {
			return fmt.Errorf("no medium labelled %s with a file %s is there", mediaLabel, tokenFile)
		}
		from = "TFTP"
		text, err = fetchTFTP(ctx, c.BootServer, "token-"+c.DeploymentID)
	}
	if err != nil {
		return err
	}
	if r.token, err = cleanToken(text); err != nil {
		return fmt.Errorf("the token from %s: %w", from, err)
	}
	r.Caller.Authorize(r.token)
	r.Log.Info("the deployment's token is here", "from", from)
	return nil
}

// cleanToken refuses what is no token before it goes into a header and a log tells of a strange refusal.
func cleanToken(text string) (string, error) {
	token := strings.TrimSpace(text)
	odd := func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsGraphic(r) || r == ' ' }
	if token == "" || len(token) > maxToken || strings.ContainsFunc(token, odd) {
		return "", fmt.Errorf("it has %d characters; one word of 1 to %d printable ones is allowed", len(token), maxToken)
	}
	return token, nil
}

// tokenOnMedia looks at every drive for the medium; from is "" when none has it. Drives without a medium,
// and media of others, are passed over.
func (r *Ramdisk) tokenOnMedia() (text, from string, err error) {
	drives, err := os.ReadDir(filepath.Join(r.Root, "/sys/block"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", "", fmt.Errorf("looking for the token's medium: %w", err)
	}
	for _, d := range drives {
		name := "/dev/" + d.Name()
		f, err := os.Open(filepath.Join(r.Root, name))
		if err != nil {
			continue
		}
		data, found, err := bootable.MediaFile(f, mediaLabel, tokenFile)
		f.Close()
		if found && err == nil {
			return string(data), name, nil
		}
		if err != nil {
			r.Log.Warn("a drive cannot be searched for the token", "drive", name, "error", err)
		}
	}
	return "", "", nil
}
