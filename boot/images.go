package boot

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"time"

	"github.com/billet-metal/billet/node"
)

// DefaultRecordLife is how long a record lasts when nobody says otherwise: longer than the
// longest deploy worth waiting for, short enough that a forgotten one ends by itself.
const DefaultRecordLife = 6 * time.Hour

// ImageShelf is the Images on top of the records.
type ImageShelf struct {
	Records Records
	Life    time.Duration // 0: DefaultRecordLife
}

// ServeImage is described on Images.
func (s ImageShelf) ServeImage(ctx context.Context, nodeUUID, path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("serving an image to node %s: %q is not an absolute path", nodeUUID, path)
	}
	r, err := s.Records.RecordOf(ctx, nodeUUID)
	if err != nil {
		return "", fmt.Errorf("reading the boot record of node %s: %w", nodeUUID, err)
	}
	if r == nil {
		fresh := NewRecord(nodeUUID)
		r = &fresh
	}
	r.Image = path
	r.Until = End(s.Life)
	if err := s.Records.PutRecord(ctx, *r); err != nil {
		return "", fmt.Errorf("serving an image to node %s: %w", nodeUUID, err)
	}
	return ImagePath(r.Secret), nil
}

// NewRecord is a record with secrets of its own, and nothing to boot yet.
func NewRecord(nodeUUID string) Record {
	return Record{NodeUUID: nodeUUID, Secret: NewSecret(), Key: NewSecret(), Hidden: NewSecret(), CreatedAt: node.Now()}
}

// NewSecret makes the secret of a record: 32 hex digits, 128 random bits.
func NewSecret() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails, as its documentation says
	return hex.EncodeToString(b)
}

// End is when a record written now ends; life 0 means DefaultRecordLife.
func End(life time.Duration) time.Time {
	if life <= 0 {
		life = DefaultRecordLife
	}
	return node.Now().Add(life)
}
