package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/billet-metal/billet/store/seal"
)

const canaryText, canaryPlace = "billet", "key canary"

// unlockKey sets s.seal. The canary row tells whether the key is the one this database was
// sealed with before anything is read or written with it. A key file is made only for a
// database that holds no sealed row yet: a lost key must not be replaced by a new one.
// The caller keeps other first starts out.
func (s *Store) unlockKey(ctx context.Context, cfg Config) error {
	var canary []byte
	err := queryRow(ctx, s.write, `SELECT sealed FROM key_canary WHERE id = 1`).Scan(&canary)
	isNew := errors.Is(err, sql.ErrNoRows)
	if err != nil && !isNew {
		return fmt.Errorf("read the key canary: %w", err)
	}
	key, from, err := cfg.key(isNew)
	if err != nil {
		return err
	}
	if s.seal, err = seal.New(key); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	if isNew {
		_, err := exec(ctx, s.write, `INSERT INTO key_canary (id, sealed) VALUES (1, $1)`, s.seal.Seal([]byte(canaryText), canaryPlace))
		return err
	}
	if _, err := s.seal.Open(canary, canaryPlace); err != nil {
		return fmt.Errorf("%s is not the key this database was sealed with; restore that key: %w", from, err)
	}
	return nil
}

// key returns the sealing key and where it came from; isNew allows to make it.
func (cfg *Config) key(isNew bool) (key []byte, from string, err error) {
	if cfg.Key != nil {
		return cfg.Key, "the sealing key given", nil
	}
	name := cfg.KeyFile
	if name == "" {
		dir, err := usableDir(cfg.DataDir)
		if err != nil {
			return nil, "", fmt.Errorf("the sealing key is kept outside the database: %w", err)
		}
		name = filepath.Join(dir, "secret.key")
	}
	key, err = readKey(name)
	if errors.Is(err, fs.ErrNotExist) {
		if !isNew {
			return nil, "", fmt.Errorf("key file %s is missing, and this database holds values sealed with it; restore the file (processes that "+
				"share a database share its key)", name)
		}
		key, err = makeKey(name)
	}
	return key, "key file " + name, err
}

func readKey(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("read the sealing key: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("key file %s can be read by others (mode %04o); run chmod 600 on it", name, mode)
	}
	key, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the sealing key: %w", err)
	}
	if len(key) != seal.KeySize {
		return nil, fmt.Errorf("key file %s has %d bytes, a sealing key has %d", name, len(key), seal.KeySize)
	}
	return key, nil
}

// makeKey writes a new key and makes sure that it is on the disk before anything is sealed with it.
func makeKey(name string) ([]byte, error) {
	key := make([]byte, seal.KeySize)
	rand.Read(key)
	tmp := name + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make the sealing key: %w", err)
	}
	_, err = f.Write(key)
	if err = errors.Join(err, f.Chmod(0o600), f.Sync(), f.Close()); err == nil {
		err = errors.Join(os.Rename(tmp, name), syncDir(filepath.Dir(name)))
	}
	if err != nil {
		return nil, fmt.Errorf("make the sealing key: %w", err)
	}
	return key, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
