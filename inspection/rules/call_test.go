package rules_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/fetch"
	"github.com/billet-metal/billet/inspection/rules"
)

func TestWhatAnAPICallAsksFor(t *testing.T) {
	for _, tt := range []struct {
		args string
		want rules.Call
		err  string
	}{
		{`["http://cmdb/{node.name}"]`,
			rules.Call{URL: "http://cmdb/blade-7", Timeout: 5 * time.Second, Retries: 3, Backoff: 300 * time.Millisecond},
			""},
		{`{"url":"https://cmdb/","headers":{"X-Auth":"t"},"proxies":{"https":"http://proxy:3128"},"timeout":"2.5","retries":0,` +
			`"backoff_factor":1}`,
			rules.Call{URL: "https://cmdb/", Headers: map[string]string{"X-Auth": "t"}, Proxies: map[string]string{"https": "http://proxy:3128"},
				Timeout: 2500 * time.Millisecond, Backoff: time.Second}, ""},
		{`["file:///etc/shadow"]`, rules.Call{}, "its URL is not one: only http and https URLs are called"},
		{`["//cmdb/"]`, rules.Call{}, "its URL is not one: only http and https URLs are called"},
		{`["http://cmdb/",["x"]]`, rules.Call{}, "an argument is not an object: headers is a list"},
		{`["http://cmdb/",{"x":1}]`, rules.Call{}, "an argument is not an object of texts: headers has a number (1)"},
		{`["http://cmdb/",null,{"http":"nowhere"}]`, rules.Call{}, "a proxy's URL is not one: that of http"},
		{`["http://cmdb/",null,null,0]`, rules.Call{}, "an argument is out of range: timeout must be more than 0"},
		{`["http://cmdb/",null,null,61]`, rules.Call{}, "an argument is out of range: timeout must be a number of at most 60"},
		{`["http://cmdb/",null,null,"soon"]`, rules.Call{}, "an argument is out of range: timeout must be a number of at most 60"},
		{`["http://cmdb/",null,null,1,11]`, rules.Call{}, "an argument is out of range: retries must be a number of at most 10"},
		{`["http://cmdb/",null,null,1,1,-1]`, rules.Call{}, "an argument is out of range: backoff_factor must be a number of at most 30"},
	} {
		var got rules.Call
		m := machine(t)
		m.Get = func(ctx context.Context, c rules.Call) error {
			if _, ok := ctx.Deadline(); !ok {
				t.Error("a call without an end")
			}
			got = c
			return nil
		}
		_, err := apply(t, m, rule(t, `[]`, `[{"op":"api-call","args":`+tt.args+`}]`))
		if tt.err != "" {
			if err == nil || !strings.HasSuffix(err.Error(), "(api-call): "+tt.err+".") || got.URL != "" {
				t.Errorf("%s: %v, called %q", tt.args, err, got.URL)
			}
			continue
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", tt.args, err, diff)
		}
	}
	m := machine(t)
	m.Get = func(context.Context, rules.Call) error { return errors.New("cmdb answers 404 Not Found") }
	if _, err := apply(t, m, rule(t, `[]`, `[{"op":"api-call","args":["http://cmdb/"]}]`)); err == nil ||
		!strings.HasSuffix(err.Error(), "(api-call): its call failed: cmdb answers 404 Not Found.") {
		t.Error(err)
	}
}

func TestHTTPGet(t *testing.T) {
	var asked atomic.Int32
	var answers []int
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := int(asked.Add(1)) - 1
		if r.Method != "GET" || r.Header.Get("X-Auth") != "t" {
			t.Errorf("%s with %v", r.Method, r.Header)
		}
		w.WriteHeader(answers[min(n, len(answers)-1)])
	}))
	defer s.Close()
	host := strings.TrimPrefix(s.URL, "http://")
	for _, tt := range []struct {
		answers []int
		retries int
		asked   int32
		err     string
	}{
		{[]int{200}, 3, 1, ""},
		{[]int{503, 429, 204}, 3, 3, ""},
		{[]int{500}, 2, 3, host + " answers 500 Internal Server Error"},
		{[]int{404, 200}, 3, 1, host + " answers 404 Not Found"},
		{[]int{502}, 0, 1, host + " answers 502 Bad Gateway"},
	} {
		asked.Store(0)
		answers = tt.answers
		err := rules.HTTPGet(fetch.Loopback())(t.Context(), rules.Call{URL: s.URL + "/x?token=secret", Headers: map[string]string{"X-Auth": "t"},
			Timeout: 5 * time.Second, Retries: tt.retries, Backoff: time.Millisecond})
		if (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err || asked.Load() != tt.asked {
			t.Errorf("%v: %v after %d", tt.answers, err, asked.Load())
		}
	}
}

func TestHTTPGetOfNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // takes connections and says nothing
	silent := l.Addr().String()
	began := time.Now()
	err = rules.HTTPGet(fetch.Loopback())(t.Context(),
		rules.Call{URL: "http://user:pass-secret@" + silent + "/?token=secret", Timeout: 50 * time.Millisecond, Retries: 1})
	if err == nil || err.Error() != silent+": no answer in time" || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err = rules.HTTPGet(fetch.Loopback())(ctx,
		rules.Call{URL: "http://127.0.0.1:1/?token=secret", Timeout: time.Second, Retries: 10, Backoff: time.Hour})
	if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "127.0.0.1:1: ") {
		t.Error(err)
	}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.String() != "http://cmdb.invalid/x" {
			t.Errorf("the proxy was asked for %s", r.URL)
		}
	}))
	defer proxy.Close()
	if err := rules.HTTPGet(fetch.Loopback())(t.Context(),
		rules.Call{URL: "http://cmdb.invalid/x", Proxies: map[string]string{"http": proxy.URL}, Timeout: time.Second}); err != nil {
		t.Errorf("through a proxy: %v", err)
	}
}
