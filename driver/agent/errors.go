package agent

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"

	"github.com/billet-metal/billet/wire"
)

// unreachable is a request that got no answer. The agent may have got it all the same.
type unreachable struct {
	host  string
	cause error
}

func (e *unreachable) Error() string {
	return fmt.Sprintf("the agent at %s did not answer: %v", e.host, e.cause)
}

func (e *unreachable) Unwrap() error { return e.cause }

// refused is an answer of the agent that is not 200.
type refused struct {
	command string
	status  int
	fault   string
}

func (e *refused) Error() string {
	if e.status == http.StatusUnauthorized {
		return fmt.Sprintf("the agent refused %s: it does not know the token this service gave it (it may have been started anew): %s",
			e.command, e.fault)
	}
	return fmt.Sprintf("the agent refused %s with status %d: %s", e.command, e.status, e.fault)
}

// failed is a command that the agent carried out and that went wrong there.
type failed struct {
	what  string
	cause *wire.CommandError
}

func (e *failed) Error() string {
	if e.cause == nil || e.cause.Error() == "" {
		return fmt.Sprintf("%s failed on the machine; the agent gives no reason", e.what)
	}
	return fmt.Sprintf("%s failed on the machine: %s", e.what, redact(e.cause.Error()))
}

func isUnreachable(err error) bool {
	_, ok := errors.AsType[*unreachable](err)
	return ok
}

func isRefused(err error, status int) bool {
	r, ok := errors.AsType[*refused](err)
	return ok && r.status == status
}

// scrub takes the URL out of net/http's errors: it holds the agent token.
func scrub(err error) error {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		return ue.Err
	}
	return err
}

var (
	bootSecret = regexp.MustCompile(`/boot/[0-9A-Fa-f]{16,}`)
	tokenParam = regexp.MustCompile(`agent_token=[^&\s"']+`)
	urlUser    = regexp.MustCompile(`(https?://)[^/\s@"']+@`)
	urlQuery   = regexp.MustCompile(`(https?://[^\s?"']+)\?[^\s"']+`)
)

// redact hides secrets that an agent's text may quote: boot URLs, the token, URLs' user names,
// passwords and queries, where the signatures of temporary URLs are.
func redact(text string) string {
	text = tokenParam.ReplaceAllString(text, "agent_token=******")
	text = bootSecret.ReplaceAllString(text, "/boot/******")
	text = urlUser.ReplaceAllString(text, "${1}******@")
	return urlQuery.ReplaceAllString(text, "${1}?******")
}
