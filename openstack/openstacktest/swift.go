package openstacktest

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Account is that of the project that logs in.
const Account = "AUTH_p-service"

// Swift keeps objects, by temporary URLs too. Objects that have come to their end are gone.
type Swift struct {
	Service
	Now        func() time.Time // its clock; nil is everybody's
	key        string           // X-Account-Meta-Temp-Url-Key
	containers map[string]map[string]object
}

type object struct {
	data []byte
	end  time.Time // zero: none
}

func newSwift(t testing.TB, k *Keystone) *Swift {
	s := &Swift{containers: map[string]map[string]object{}}
	s.start(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", s.now().UTC().Format(http.TimeFormat))
		switch signed := r.URL.Query().Has("temp_url_sig"); {
		case signed && !s.signed(r):
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, "401 Unauthorized: Temp URL invalid\n")
		case signed || k.admit(w, r):
			s.answer(w, r)
		}
	})
	return s
}

// Key is the account's key for temporary URLs; SetKey sets it.
func (s *Swift) Key() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.key
}

// SetKey sets the account's key for temporary URLs.
func (s *Swift) SetKey(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key = key
}

// Objects are the names in a container; nil: there is no such container.
func (s *Swift) Objects(container string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.containers[container] == nil {
		return nil
	}
	names := []string{}
	for name, o := range s.containers[container] {
		if !s.over(o) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Object is what is in an object; nil: there is none.
func (s *Swift) Object(container, name string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.containers[container][name].data)
}

// RemoveContainer deletes a container with all that is in it.
func (s *Swift) RemoveContainer(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.containers, name)
}

func (s *Swift) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

func (s *Swift) over(o object) bool { return !o.end.IsZero() && s.now().After(o.end) }

// signed checks a temporary URL as the middleware tempurl does, with SHA-256.
func (s *Swift) signed(r *http.Request) bool {
	method := map[string]string{http.MethodGet: "GET", http.MethodHead: "GET"}[r.Method]
	expires := r.URL.Query().Get("temp_url_expires")
	at, err := strconv.ParseInt(expires, 10, 64)
	mac := hmac.New(sha256.New, []byte(s.key))
	fmt.Fprintf(mac, "%s\n%s\n%s", method, expires, r.URL.Path)
	return err == nil && s.key != "" && method != "" && s.now().Unix() <= at &&
		hmac.Equal([]byte(hex.EncodeToString(mac.Sum(nil))), []byte(r.URL.Query().Get("temp_url_sig")))
}

func (s *Swift) answer(w http.ResponseWriter, r *http.Request) {
	rest, mine := strings.CutPrefix(r.URL.Path, "/v1/"+Account)
	parts := strings.SplitN(strings.Trim(rest, "/"), "/", 2)
	switch {
	case !mine:
		w.WriteHeader(http.StatusForbidden)
	case parts[0] == "":
		s.account(w, r)
	case len(parts) == 1:
		s.container(w, r, parts[0])
	default:
		s.object(w, r, parts[0], parts[1])
	}
}

func (s *Swift) account(w http.ResponseWriter, r *http.Request) {
	if key := r.Header.Get("X-Account-Meta-Temp-Url-Key"); r.Method == http.MethodPost && key != "" {
		s.key = key
	}
	if s.key != "" {
		w.Header().Set("X-Account-Meta-Temp-Url-Key", s.key)
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Swift) container(w http.ResponseWriter, r *http.Request, name string) {
	there := s.containers[name] != nil
	switch {
	case r.Method == http.MethodPut && there:
		w.WriteHeader(http.StatusAccepted)
	case r.Method == http.MethodPut:
		s.containers[name] = map[string]object{}
		w.WriteHeader(http.StatusCreated)
	case !there:
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodGet:
		listed := []map[string]string{}
		for _, o := range slices.Sorted(maps.Keys(s.containers[name])) {
			if strings.HasPrefix(o, r.URL.Query().Get("prefix")) { // one that has ended is listed until it is deleted, as Swift does
				listed = append(listed, map[string]string{"name": o})
			}
		}
		reply(w, http.StatusOK, listed)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

func (s *Swift) object(w http.ResponseWriter, r *http.Request, container, name string) {
	o, there := s.containers[container][name]
	if there && s.over(o) {
		there = false
	}
	switch {
	case r.Method == http.MethodPut && s.containers[container] == nil:
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodPut:
		s.put(w, r, container, name)
	case !there:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "<html><h1>Not Found</h1><p>The resource could not be found.</p></html>")
	case r.Method == http.MethodDelete:
		delete(s.containers[container], name)
		w.WriteHeader(http.StatusNoContent)
	default:
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(o.data))
	}
}

func (s *Swift) put(w http.ResponseWriter, r *http.Request, container, name string) {
	data, err := io.ReadAll(r.Body)
	if err != nil || r.ContentLength >= 0 && int64(len(data)) != r.ContentLength {
		w.WriteHeader(499)
		return
	}
	sum := md5.Sum(data)
	etag := hex.EncodeToString(sum[:])
	if want := r.Header.Get("ETag"); want != "" && want != etag {
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	o := object{data: data}
	if after, err := strconv.Atoi(r.Header.Get("X-Delete-After")); err == nil {
		o.end = s.now().Add(time.Duration(after) * time.Second)
	}
	s.containers[container][name] = o
	w.Header().Set("ETag", etag)
	w.WriteHeader(http.StatusCreated)
}
