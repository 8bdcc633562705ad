package node

import (
	"errors"
	"fmt"
)

// Kind says whose fault an error is, and so which HTTP status it gets.
type Kind int

// Kinds of errors, with the status the API answers.
const (
	Internal      Kind = iota // 500
	Invalid                   // 400
	Forbidden                 // 403
	NotFound                  // 404
	NotAllowed                // 405
	NotAcceptable             // 406
	Conflict                  // 409
	Unavailable               // 503
)

// Err is an error people read: Kind picks the status, Msg is the text, Cause goes to the log.
type Err struct {
	Kind  Kind
	Msg   string
	Cause error
}

func (e *Err) Error() string {
	if e.Cause != nil {
		return e.Msg + ": " + e.Cause.Error()
	}
	return e.Msg
}

func (e *Err) Unwrap() error { return e.Cause }

// Errorf builds an Err without a cause. Msg is shown to people as it is.
func Errorf(kind Kind, format string, args ...any) *Err {
	return &Err{Kind: kind, Msg: fmt.Sprintf(format, args...)}
}

// Unsupported is the API's refusal of something that a node's hardware type, or the interfaces chosen of it, cannot do:
// Ironic's sentence, which clients look for. The machine lacks the interface; this program does not.
func Unsupported(driver, what string) *Err {
	return Errorf(Invalid, "Driver %s does not support %s (disabled or not implemented).", driver, what)
}

// KindOf returns the kind of the first Err in err's chain; Internal when there is none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Err](err); ok {
		return e.Kind
	}
	return Internal
}

// ErrLeaseLost is returned by a write whose fencing token is no longer the node's: somebody else
// holds the node now, and the caller must stop working on it at once.
var ErrLeaseLost = errors.New("lease lost: another conductor holds the node")

// ErrStoreAway is in the chain of every error of a database that cannot be reached or written now, and may be later:
// it starts anew, its disk is full. What failed with it says nothing about the node, and is tried again.
var ErrStoreAway = errors.New("the database cannot be used now")

// StoreAway is the API's answer when the database failed with cause.
func StoreAway(cause error) *Err {
	return &Err{Kind: Unavailable, Msg: "The service can not use its database at the moment, please retry.", Cause: storeAway{cause}}
}

// StoreReadOnly is StoreAway for a database that can be read; because says why nothing is written.
func StoreReadOnly(because string, cause error) *Err {
	return &Err{Kind: Unavailable, Msg: "The service can only read its database at the moment: " + because +
		". Nothing was changed.", Cause: storeAway{cause}}
}

type storeAway struct{ error }

func (e storeAway) Unwrap() error        { return e.error }
func (e storeAway) Is(target error) bool { return target == ErrStoreAway }

// ErrServiceAway is in the chain of every error of a service beside this one that cannot serve now and may later. What failed with
// it says nothing about the node, and a step that it stopped is run again while there is time.
var ErrServiceAway = errors.New("a service cannot be used now")

// ServiceAway is an error of a service that failed with cause.
func ServiceAway(msg string, cause error) *Err {
	return &Err{Kind: Unavailable, Msg: msg, Cause: serviceAway{cause}}
}

type serviceAway struct{ error }

func (e serviceAway) Unwrap() error        { return e.error }
func (e serviceAway) Is(target error) bool { return target == ErrServiceAway }

// Locked is the API's answer when somebody else holds the node.
func Locked(n *Node) *Err {
	return Errorf(Conflict, "Node %s is locked by host %s, please retry after the current operation is completed.", n.UUID, n.Lease.Holder)
}

// NodeNotFound is the API's answer for an unknown UUID or name.
func NodeNotFound(ident string) *Err { return Errorf(NotFound, "Node %s could not be found.", ident) }

// PortNotFound is the API's answer for an unknown port.
func PortNotFound(ident string) *Err { return Errorf(NotFound, "Port %s could not be found.", ident) }
