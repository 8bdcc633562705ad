package api

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/billet-metal/billet/api/payload"
	"github.com/billet-metal/billet/door"
	"github.com/billet-metal/billet/node"
)

// A stranger can open connections and send bodies before anybody knows who it is. Each place where that costs memory or time
// has its bound here.

// Limits of bodies, in bytes.
const (
	maxBody           = 1 << 20
	maxProvisionBody  = 64 << 20  // config drives
	maxInspectionBody = 16 << 20  // logs of the ramdisk
	maxMachineBody    = 512 << 10 // what else a machine says, an inventory and its last lines included
)

// maxAddresses is how many network interfaces one machine may have.
const maxAddresses = 512

// fewAddresses refuses a machine with more interfaces than there are machines with: each is looked for in the store.
func fewAddresses(n int) error {
	if n <= maxAddresses {
		return nil
	}
	return invalid("A machine may have at most %d network interfaces here, not %d.", maxAddresses, n)
}

// takePlace waits for a place among the calls of machines, who do not log in: so many of all, so many of one address,
// and fewer with large bodies. People's calls need none: they have been admitted.
func (a *API) takePlace(r *http.Request, rt route) (leave func(), err error) {
	g := a.calls
	switch {
	case rt.access != ramdisk:
		return func() {}, nil
	case rt.maxBody > maxBody:
		g = a.reports
	}
	leave, ok := g.Enter(r.Context(), door.SourceOf(r))
	if !ok {
		return nil, node.Errorf(node.Unavailable, "Too many machines call at the same time, please retry.")
	}
	return leave, nil
}

// readBody reads a body within the route's limit and the pace, and looks at its shape.
func (a *API) readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if limit == 0 {
		limit = maxBody
	}
	tooLarge := &flatError{http.StatusRequestEntityTooLarge, fmt.Sprintf("The request body is larger than the %d bytes allowed here.", limit)}
	if r.ContentLength > limit {
		return nil, tooLarge
	}
	body, err := a.pace.Body(w, r, limit+1)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &flatError{http.StatusRequestTimeout, fmt.Sprintf("The request body comes slower than %d bytes a second.", a.pace.Rate)}
	case err != nil:
		return nil, invalid("The request body could not be read.")
	case int64(len(body)) > limit:
		return nil, tooLarge
	}
	if wrong := payload.TooMuch(body); wrong != "" {
		return nil, &flatError{http.StatusBadRequest, wrong}
	}
	return bytes.TrimSpace(body), nil
}
