package api

import (
	"context"
	"net/http"

	"github.com/billet-metal/billet/api/payload"
)

// find is the record that a path names.
func (k *records[T, F]) find(c *call) (x T, err error) {
	ident, err := k.named.in(c)
	if err != nil {
		return x, err
	}
	return k.kept.Get(c.Context(), ident)
}

// toDelete and toPatch are the UUID of the record that a path names. A record is read only to learn that: one that cannot be
// read can be deleted by its UUID.
func (k *records[T, F]) toDelete(c *call) (string, error) {
	if k.deleted.in != nil {
		return k.deleted.in(c)
	}
	return k.toPatch(c)
}

func (k *records[T, F]) toPatch(c *call) (string, error) {
	ident, err := k.named.in(c)
	if err != nil || isUUID(ident) {
		return ident, err
	}
	x, err := k.kept.Get(c.Context(), ident)
	return k.uuid(&x), err
}

// show answers a GET of one record.
func (k *records[T, F]) show(find func(c *call) (T, error)) handler {
	return func(w http.ResponseWriter, c *call) error {
		q, err := c.query("fields")
		if err != nil {
			return err
		}
		fields, err := fieldsAsked(c, q, k.name, k.columns)
		if err != nil {
			return err
		}
		x, err := find(c)
		if err == nil {
			err = k.damaged(&x)
		}
		if err != nil {
			return err
		}
		k.answer(w, c, http.StatusOK, x, fields)
		return nil
	}
}

func (k *records[T, F]) damaged(x *T) error {
	if k.damage != nil {
		return k.damage(x)
	}
	return k.head(x).unreadable.Damage(k.noun, k.uuid(x))
}

func (k *records[T, F]) post(w http.ResponseWriter, c *call) error {
	body, err := payload.DecodeObject(c.body)
	if err != nil {
		return err
	}
	x, err := k.read(c, body)
	if err == nil && k.complete != nil {
		err = k.complete(c, &x, body)
	}
	if err != nil {
		return err
	}
	if k.create != nil {
		x, err = k.create(c.Context(), x)
	} else {
		err = k.kept.Create(c.Context(), &x)
	}
	if err != nil {
		return err
	}
	w.Header().Set("Location", c.href(k.below(&x)...))
	k.answer(w, c, http.StatusCreated, x, nil)
	return nil
}

func (k *records[T, F]) patch(w http.ResponseWriter, c *call) error {
	if c.version < k.changes {
		return aborted(http.StatusMethodNotAllowed, "")
	}
	change, err := k.change(c)
	if err != nil {
		return err
	}
	uuid, err := k.toPatch(c)
	if err != nil {
		return err
	}
	update := k.updateStored
	if k.update != nil {
		update = k.update
	}
	x, err := update(c.Context(), uuid, change)
	if err != nil {
		return err
	}
	k.answer(w, c, http.StatusOK, x, nil)
	return nil
}

func (k *records[T, F]) updateStored(ctx context.Context, uuid string, change func(*T) error) (T, error) {
	x, err := k.kept.Get(ctx, uuid)
	if err == nil {
		err = change(&x)
	}
	if err == nil {
		err = k.kept.Save(ctx, &x)
	}
	return x, err
}

func (k *records[T, F]) del(which func(c *call) (string, error)) handler {
	remove := k.remove
	if remove == nil {
		remove = k.kept.Delete
	}
	return func(w http.ResponseWriter, c *call) error {
		uuid, err := which(c)
		if err != nil {
			return err
		}
		if err := remove(c.Context(), uuid); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
}
