package sdk_test

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/plugins/sdk"
)

// TestStatusDecidesTheOutcome is the contract's table.
func TestStatusDecidesTheOutcome(t *testing.T) {
	type verdict struct{ final, destination bool }
	retry, destination := verdict{}, verdict{destination: true}
	gone, rejected := verdict{true, true}, verdict{final: true}
	want := map[int]verdict{
		404: retry, 408: retry, 409: retry, 425: retry, 429: retry, 500: retry, 502: retry, 503: retry, 504: retry,
		599: retry, 401: destination, 403: destination, 410: gone,
		300: rejected, 301: rejected, 302: rejected, 304: rejected, 307: rejected, 308: rejected,
		400: rejected, 402: rejected, 405: rejected, 413: rejected, 415: rejected, 422: rejected, 451: rejected,
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		code, err := strconv.Atoi(r.URL.Path[1:])
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Location", "/200")
		w.WriteHeader(code)
	}))
	defer srv.Close()
	o := &sdk.Outbound{Allow: []string{"127.0.0.0/8"}}
	for _, code := range []int{200, 201, 202, 204} {
		if err := get(t, o, srv.URL+"/"+strconv.Itoa(code)); err != nil {
			t.Errorf("%d: %v, want delivered", code, err)
		}
	}
	for code, v := range want {
		var f *sdk.Failure
		err := get(t, o, srv.URL+"/"+strconv.Itoa(code))
		if !errors.As(err, &f) || (verdict{f.Final, f.Destination}) != v {
			t.Errorf("%d: %+v, want %+v", code, f, v)
		}
	}
}

func TestRetryAfterIsAFloorWithinReason(t *testing.T) {
	const day = 24 * time.Hour
	soon := time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat)
	for value, want := range map[string][2]time.Duration{
		"":    {0, 0},
		"7":   {7 * time.Second, 7 * time.Second},
		" 7 ": {7 * time.Second, 7 * time.Second},
		"0":   {0, 0}, "-5": {0, 0}, "1.5": {0, 0}, "junk": {0, 0}, "99999999999999999999999": {0, 0},
		"999999999999":                  {day, day},
		soon:                            {80 * time.Second, 90 * time.Second},
		"Fri, 31 Dec 9999 23:59:59 GMT": {day, day},
		"Fri, 31 Dec 1999 23:59:59 GMT": {0, 0},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", value)
			w.WriteHeader(http.StatusTooManyRequests)
		}))
		var f *sdk.Failure
		err := get(t, &sdk.Outbound{Allow: []string{"127.0.0.0/8"}}, srv.URL)
		if !errors.As(err, &f) || f.After < want[0] || f.After > want[1] {
			t.Errorf("Retry-After %q: %v, want %v", value, f, want)
		}
		srv.Close()
	}
}

// TestHostileReceiverCostsLittle holds every trick of a receiver to a bound.
func TestHostileReceiverCostsLittle(t *testing.T) {
	var sent atomic.Int64
	handlers := map[string]http.HandlerFunc{
		"hang": func(_ http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				t.Error(err)
			}
			<-r.Context().Done()
		},
		"a byte a second": func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				t.Error(err)
			}
			for tick := time.NewTicker(time.Second); ; {
				if _, err := w.Write([]byte("x")); err != nil {
					return
				}
				if err := http.NewResponseController(w).Flush(); err != nil {
					return
				}
				select {
				case <-tick.C:
				case <-r.Context().Done():
					return
				}
			}
		},
		"100 MB": func(w http.ResponseWriter, _ *http.Request) {
			chunk := make([]byte, 1<<20)
			for range 100 {
				n, err := w.Write(chunk)
				if sent.Add(int64(n)); err != nil {
					return
				}
			}
		},
		"gzip bomb": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			chunk := make([]byte, 1<<20)
			for range 200 {
				if _, err := z.Write(chunk); err != nil {
					return
				}
			}
		},
		"closes early": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				err = conn.Close()
			}
			if err != nil {
				t.Error(err)
			}
		},
	}
	want := map[string]string{"hang": "timeout", "closes early": "transport"}
	for name, h := range handlers {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(h)
			defer srv.Close()
			defer srv.CloseClientConnections()
			patience := time.Minute // much less than reading all would take
			if name == "hang" {
				patience = time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			o := &sdk.Outbound{Allow: []string{"127.0.0.0/8"}}
			err = sdk.FromHTTP(o.Do(req)) //nolint:bodyclose // FromHTTP closes it
			if name != "hang" && ctx.Err() != nil {
				t.Errorf("it took longer than %s", patience)
			}
			var f *sdk.Failure
			if code := want[name]; code == "" && err != nil || code != "" && (!errors.As(err, &f) || f.Code != code) {
				t.Errorf("outcome %v, want code %q", err, code)
			}
		})
	}
	if n := sent.Load(); n > 20<<20 {
		t.Errorf("%d bytes of 100 MB were taken", n)
	}
}

func TestUntrustedCertificateIsRetried(t *testing.T) {
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	srv.Config.ErrorLog = nil
	defer srv.Close()
	var f *sdk.Failure
	err := get(t, &sdk.Outbound{Allow: []string{"127.0.0.0/8"}}, srv.URL)
	if !errors.As(err, &f) || f.Code != "tls" || f.Final {
		t.Errorf("outcome %v, want a retry with code tls", err)
	}
}

func TestTransportErrorsNeverShowTheURL(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	err = get(t, &sdk.Outbound{Allow: []string{"127.0.0.0/8"}}, "http://user:canary@"+addr+"/canary?token=canary")
	if err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("error %v, want one without the URL", err)
	}
}

func TestUnsendableURLSuspends(t *testing.T) {
	for _, u := range []string{"ftp://example.org/", "http:///path", "mailto:x@example.org"} {
		var f *sdk.Failure
		if err := get(t, &sdk.Outbound{}, u); !errors.As(err, &f) || !f.Final || !f.Destination {
			t.Errorf("%s: %v, want it rejected for the destination", u, err)
		}
		err := (&sdk.Outbound{}).Post(t.Context(), u, nil, nil)
		if !errors.As(err, &f) || !f.Final || !f.Destination || strings.Contains(err.Error(), "example") {
			t.Errorf("Post(%s) = %v, want it rejected for the destination", u, err)
		}
	}
}

func TestWhatAReceiverSaysInsteadOfHTTPIsNotRepeated(t *testing.T) {
	t.Parallel()
	for _, words := range []string{"hush this is no HTTP\r\n\r\n", "HTTP/1.1 200 OK\r\nhush this is no header\r\n\r\n", "HTTP/1.1 hush\r\n\r\n"} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, err = io.WriteString(conn, words)
				err = errors.Join(err, conn.Close())
			}
			if err != nil {
				t.Error(err)
			}
		}))
		err := (&sdk.Outbound{Allow: []string{"127.0.0.0/8"}}).Post(t.Context(), srv.URL, nil, []byte("{}"))
		srv.Close()
		var f *sdk.Failure
		if !errors.As(err, &f) || f.Code != "transport" || f.Final || strings.Contains(err.Error(), "hush") {
			t.Errorf("after %q: %v", words, err)
		}
	}
}
