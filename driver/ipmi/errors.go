package ipmi

import (
	"errors"
	"fmt"

	"github.com/billet-metal/billet/node"
)

// Reason tells what went wrong with a BMC, for callers that care; people read the text.
type Reason string

// The reasons.
const (
	Unreachable Reason = "unreachable" // never answered
	Slow        Reason = "slow"        // answered, but not in time
	BadLogin    Reason = "bad login"   // user, password or BMC key is wrong
	BadCipher   Reason = "bad cipher"  // has none of the cipher suites
	NoPrivilege Reason = "privilege"   // the user may not do this
	Busy        Reason = "busy"        // says so, or has no free session
	NotDone     Reason = "not done"    // said yes and did nothing
	InUse       Reason = "in use"      // the serial line has another listener
	Refused     Reason = "refused"     // said no
	Unsupported Reason = "unsupported" // speaks no IPMI 2.0, or does not know the command
)

// kinds is whose fault a reason is: what an operator can correct in driver_info is Invalid.
var kinds = map[Reason]node.Kind{
	Unreachable: node.Unavailable, Slow: node.Unavailable, Busy: node.Unavailable, NotDone: node.Unavailable,
	BadLogin: node.Invalid, BadCipher: node.Invalid, NoPrivilege: node.Invalid,
	Refused: node.Unavailable, Unsupported: node.Invalid, InUse: node.Conflict,
}

// Error is a conversation with a BMC that went wrong. It wraps a *node.Err with the whole text and
// never holds a password.
type Error struct {
	Reason Reason
	err    *node.Err
}

func (e *Error) Error() string { return e.err.Error() }

func (e *Error) Unwrap() error { return e.err }

// ReasonOf returns the reason of the first Error in err's chain, or "".
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return ""
}

// fail says what the BMC at c's address did.
func (c config) fail(r Reason, cause error, format string, args ...any) error {
	return &Error{Reason: r, err: &node.Err{
		Kind: kinds[r], Cause: cause, Msg: fmt.Sprintf("BMC %s: ", c.address) + fmt.Sprintf(format, args...),
	}}
}

// completion is a completion code other than 00h (spec table 5-2).
type completion byte

func (c completion) Error() string {
	if s, ok := completionText[c]; ok {
		return fmt.Sprintf("completion code %#02x, %s", byte(c), s)
	}
	return fmt.Sprintf("completion code %#02x", byte(c))
}

// refusal returns the completion code when a BMC refused a request. An Error that has one as its
// cause, such as a BMC that stays busy, is no refusal: it is not unwrapped.
func refusal(err error) (completion, bool) {
	code, ok := err.(completion)
	return code, ok
}

var completionText = map[completion]string{
	0xC0: "node busy", 0xC1: "invalid command", 0xC2: "command invalid for this LUN",
	0xC3: "timeout while processing", 0xC4: "out of space", 0xC7: "request too short",
	0xC9: "parameter out of range", 0xCB: "not present", 0xCC: "invalid data field",
	0xCE: "cannot answer", 0xCF: "duplicate request", 0xD0: "SDR repository in update mode",
	0xD1: "firmware update mode", 0xD2: "BMC initialising", 0xD4: "insufficient privilege level",
	0xD5: "not supported in present state", 0xD6: "disabled sub-function", 0xFF: "unspecified error",
}

// passing says that the same request may succeed a little later.
func (c completion) passing() bool {
	switch c {
	case 0xC0, 0xC3, 0xC4, 0xCE, 0xCF, 0xD0, 0xD1, 0xD2:
		return true
	}
	return false
}
