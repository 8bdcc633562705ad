package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/billet-metal/billet/wire"
)

func TestTheLastLinesOfTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b LogBuffer
		if got := b.lines(time.Now()); len(got) != 0 {
			t.Errorf("before: %+v", got)
		}
		for i := range 300 {
			fmt.Fprintf(&b, "line %d\n", i)
		}
		time.Sleep(1500 * time.Millisecond)
		b.Write([]byte("two\nlines"))
		b.Write([]byte(strings.Repeat("é", 400) + "\n"))
		got := b.lines(time.Now())
		if len(got) != linesSent || got[0].Text != "line 103" || got[0].AgeMS != 1500 || got[197].Text != "two" ||
			got[198].Text != "lines" || got[198].AgeMS != 0 {
			t.Errorf("%d lines, from %+v to %+v", len(got), got[0], got[197:])
		}
		if text := got[199].Text; len(text) > lineSent || !utf8.ValidString(text) || !strings.HasPrefix(text, "ééé") {
			t.Errorf("a long line: %d bytes", len(text))
		}
		if got := b.lines(time.Now().Add(-time.Hour)); got[0].AgeMS != 0 { // the clock was set back
			t.Errorf("age %d", got[0].AgeMS)
		}
		if whole := string(b.Bytes()); !strings.HasPrefix(whole, "line 0\nline 1\n") {
			t.Errorf("the log itself begins with %q", whole[:20])
		}
	})
}

// Lines go out soon, but not for each a message; a service that is away gets them later, and one that does not
// want them is left alone.
func TestSendingLines(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(n int) error
		want   string // when each message was sent, and its last line
		ends   bool   // by itself
	}{
		{"taken", func(int) error { return nil }, "0s first, 2s third, 10s last", false},
		{"away for a while", func(n int) error {
			if n < 3 {
				return errors.New("connection refused")
			}
			return nil
		}, "0s first, 5s third, 10s third, 12s last", false},
		{"refused for a moment", func(n int) error {
			if n == 1 {
				return &statusError{code: http.StatusConflict}
			}
			return nil
		}, "0s first, 5s third, 10s last", false},
		{"no Billet", func(int) error { return &statusError{code: http.StatusNotFound} }, "0s first", true},
		{"no Billet, and a login in front", func(int) error { return &statusError{code: http.StatusUnauthorized} }, "0s first", true},
		{"another agent's", func(int) error { return &statusError{code: http.StatusBadRequest} }, "0s first", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var b LogBuffer
				var sent []string
				began := time.Now()
				fmt.Fprintln(&b, "first")
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					b.sendLines(ctx, func(_ context.Context, lines []wire.LogLine) error {
						sent = append(sent, fmt.Sprint(time.Since(began), " ", lines[len(lines)-1].Text))
						return tt.answer(len(sent))
					})
				}()
				synctest.Wait()
				fmt.Fprintln(&b, "second")
				fmt.Fprintln(&b, "third")
				time.Sleep(10 * time.Second)
				synctest.Wait()
				select {
				case <-ended:
					if !tt.ends {
						t.Error("it ended by itself")
					}
				default:
					if tt.ends {
						t.Error("it goes on")
					}
				}
				fmt.Fprintln(&b, "last")
				time.Sleep(5 * time.Second)
				cancel()
				<-ended
				if got := strings.Join(sent, ", "); got != tt.want {
					t.Errorf("sent %s, want %s", got, tt.want)
				}
			})
		})
	}
}
