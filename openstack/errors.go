package openstack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/billet-metal/billet/node"
)

// failure says what a service did not do. doing is what it was asked for, "to bind port X". The kind is node.Unavailable where
// asking again may help, node.Forbidden where the login or its roles are wrong, and else the service's own.
func failure(service, doing string, err error) error {
	if err == nil {
		return nil
	}
	if again, ok := errors.AsType[*gophercloud.ErrUnableToReauthenticate](err); ok {
		return failure(service, doing, again.ErrReauth)
	}
	if known, ok := errors.AsType[*node.Err](err); ok {
		return known
	}
	name := names[service]
	if answer := answerOf(err); answer != nil {
		cause := fmt.Errorf("%s %s: %d", answer.Method, bare(answer.URL), answer.Actual)
		return of(kindOf(answer.Actual), fmt.Sprintf("%s was asked %s and answered %d%s", name, doing, answer.Actual, said(answer)), cause)
	}
	why := "it can not be reached"
	broken, isURL := errors.AsType[*url.Error](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded) || isURL && broken.Timeout():
		why = "it does not answer in time"
	case !isURL:
		why = "its answer can not be read"
	}
	if isURL { // its query may be a signature
		err = &url.Error{Op: broken.Op, URL: bare(broken.URL), Err: broken.Err}
	}
	return of(node.Unavailable, fmt.Sprintf("%s was asked %s: %s", name, doing, why), err)
}

// of is an error of a kind; one that asking again may mend says so to whoever runs steps.
func of(kind node.Kind, msg string, cause error) error {
	if kind == node.Unavailable {
		return node.ServiceAway(msg, cause)
	}
	return &node.Err{Kind: kind, Msg: msg, Cause: cause}
}

// answerOf finds the answer that an error stands for; nil: there was none.
func answerOf(err error) *gophercloud.ErrUnexpectedResponseCode {
	if after, ok := errors.AsType[*gophercloud.ErrErrorAfterReauthentication](err); ok {
		return answerOf(after.ErrOriginal)
	}
	if answer, ok := errors.AsType[gophercloud.ErrUnexpectedResponseCode](err); ok {
		return &answer
	}
	return nil
}

func kindOf(status int) node.Kind {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return node.Forbidden
	case status == http.StatusNotFound, status == http.StatusGone:
		return node.NotFound
	case status == http.StatusConflict:
		return node.Conflict
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status >= 500:
		return node.Unavailable
	default:
		return node.Invalid
	}
}

// bare is a URL without its query, which may hold a signature.
func bare(raw string) string {
	before, _, _ := strings.Cut(raw, "?")
	return before
}

// said is what an answer means: the service's own sentence, or the status's name.
func said(answer *gophercloud.ErrUnexpectedResponseCode) string {
	if s := sentence(answer.Body); s != "" {
		return s
	}
	if name := http.StatusText(answer.Actual); name != "" {
		return " (" + name + ")"
	}
	return ""
}

// sentence is what a service says for people in an error: {"error": {"message": …}} or {"NeutronError": {"message": …}}.
func sentence(body []byte) string {
	var parts map[string]json.RawMessage
	if json.Unmarshal(body, &parts) != nil {
		return ""
	}
	for _, part := range parts {
		var said struct {
			Message string `json:"message"`
		}
		if json.Unmarshal(part, &said) == nil && said.Message != "" {
			return ": " + cut(said.Message, 300)
		}
	}
	return ""
}

// cut shortens what another service says to at most n bytes, of valid text in one line.
func cut(s string, n int) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "�")), " ")
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
