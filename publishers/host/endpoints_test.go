package host_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/fresnel-search/fresnel/publishers/delivery"
)

// hostile are endpoints by what they do to whoever posts to them.
var hostile = map[string]http.HandlerFunc{
	"hangs": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	"answers a byte a second": func(w http.ResponseWriter, r *http.Request) {
		for tick := time.NewTicker(time.Second); ; {
			if _, err := w.Write([]byte("x")); err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	},
	"fails":         func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
	"asks for 7 s":  later("7"),
	"asks for ages": later("Fri, 31 Dec 9999 23:59:59 GMT"),
	"asks for junk": later("soon, I hope"),
	"is gone":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) },
	"sends elsewhere": func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusMovedPermanently)
	},
	"answers 100 MB": func(w http.ResponseWriter, _ *http.Request) { pour(w, make([]byte, 1<<20)) },
	"answers a gzip bomb": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		var mebibyte bytes.Buffer
		z := gzip.NewWriter(&mebibyte)
		if _, err := z.Write(make([]byte, 1<<20)); err == nil && z.Close() == nil {
			pour(w, mebibyte.Bytes()) // one after the other make a larger one
		}
	},
	"closes early": func(w http.ResponseWriter, _ *http.Request) {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			closeQuietly(conn)
		}
	},
}

func later(when string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", when)
		w.WriteHeader(http.StatusTooManyRequests)
	}
}

func pour(w io.Writer, chunk []byte) {
	for range 100 {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

func closeQuietly(c io.Closer) {
	if err := c.Close(); err != nil {
		return // it is closed
	}
}

// TestHostileEndpointsCostOneAttemptEach has the webhook plugin, as a process, post to
// endpoints that do what they can to hold it, all at once.
func TestHostileEndpointsCostOneAttemptEach(t *testing.T) {
	t.Parallel()
	cfg := config(t, "webhook")
	cfg.AttemptTimeout, cfg.Outbound.Allow = 6*time.Second, []string{"127.0.0.0/8"}
	s := start(t, cfg)
	s.process(0)
	ends := map[string]*httptest.Server{"is healthy": httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))}
	for name, does := range hostile {
		ends[name] = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err == nil { // else nobody notices when the client goes
				does(w, r)
			}
		}))
	}
	strange := httptest.NewUnstartedServer(http.NotFoundHandler())
	strange.Config.ErrorLog = log.New(io.Discard, "", 0)
	strange.StartTLS()
	ends["is a stranger"] = strange
	publish := func(name string) (o delivery.Outcome, took time.Duration) {
		began := time.Now()
		err := s.it.Publish(t.Context(), delivery.Destination{Subscription: name, URI: ends[name].URL}, deliveries("d"),
			func(a delivery.Outcome) { o = a })
		if err != nil {
			t.Errorf("%s: Publish() = %v", name, err)
		}
		return o, time.Since(began)
	}
	publish("is healthy")
	before := s.process(0).RSS
	type end struct {
		name string
		o    delivery.Outcome
		took time.Duration
	}
	done := make(chan end)
	for name := range ends {
		go func() {
			o, took := publish(name)
			done <- end{name, o, took}
		}()
	}
	got := map[string]delivery.Outcome{}
	for range ends {
		e := <-done
		if got[e.name] = e.o; e.took > cfg.AttemptTimeout+2*time.Second {
			t.Errorf("%s: it held the plugin for %s", e.name, e.took)
		}
	}
	const day = 24 * time.Hour
	ok := delivery.Outcome{Kind: delivery.Delivered}
	want := map[string]delivery.Outcome{
		"is healthy": ok, "answers a byte a second": ok, "answers 100 MB": ok, "answers a gzip bomb": ok,
		"hangs":           {Kind: delivery.Retry, Code: "timeout"},
		"fails":           {Kind: delivery.Retry, Code: "http_500"},
		"asks for 7 s":    {Kind: delivery.Retry, Code: "http_429", After: 7 * time.Second},
		"asks for ages":   {Kind: delivery.Retry, Code: "http_429", After: day},
		"asks for junk":   {Kind: delivery.Retry, Code: "http_429"},
		"is gone":         {Kind: delivery.Rejected, Code: "http_410", Scope: delivery.OfDestination},
		"sends elsewhere": {Kind: delivery.Rejected, Code: "http_301"},
		"closes early":    {Kind: delivery.Retry, Code: "transport"},
		"is a stranger":   {Kind: delivery.Retry, Code: "tls"},
	}
	if d := cmp.Diff(want, got, cmpopts.IgnoreFields(delivery.Outcome{}, "ID", "Message", "Took")); d != "" {
		t.Errorf("outcomes (-want +got)\n%s", d)
	}
	if p := s.process(0); p.Restarts > 0 || p.RSS-before > 40<<20 {
		t.Errorf("the plugin grew by %d MiB, %d restarts", (p.RSS-before)>>20, p.Restarts)
	}
	if bytes.Contains([]byte(s.log.String()), []byte("127.0.0.1")) {
		t.Error("the log says where deliveries go")
	}
	for _, e := range ends {
		e.CloseClientConnections()
		e.Close()
	}
}
