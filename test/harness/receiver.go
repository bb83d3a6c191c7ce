package harness

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/fresnel-search/fresnel/plugins/change"
)

// Secret signs the deliveries of the tests.
const Secret = "whsec_bXktdGVzdC1zZWNyZXQtMTIzNDU2Nzg5MA=="

// Delivery is one delivery as it came over the wire.
type Delivery struct {
	ID     string // webhook-id
	Body   string
	Change change.Change
	At     time.Time
}

// Receiver is a webhook endpoint that verifies with the Standard Webhooks library
// and remembers everything.
type Receiver struct {
	URL string

	mu     sync.Mutex
	all    []Delivery
	errs   []string
	answer func(Delivery, int) int // status by delivery and how often it came before
	times  map[string]int
}

// NewReceiver starts a receiver that ends with the test.
func NewReceiver(t testing.TB) *Receiver {
	t.Helper()
	hook, err := standardwebhooks.NewWebhook(Secret)
	if err != nil {
		t.Fatal(err)
	}
	r := &Receiver{times: map[string]int{}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.WriteHeader(r.take(hook, req))
	}))
	t.Cleanup(srv.Close)
	r.URL = srv.URL + "/hook"
	return r
}

// Answer makes the receiver answer deliveries with the status that f returns.
func (r *Receiver) Answer(f func(d Delivery, before int) int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

func (r *Receiver) take(hook *standardwebhooks.Webhook, req *http.Request) int {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return http.StatusBadRequest
	}
	var event struct {
		SpecVersion string        `json:"specversion"`
		ID          string        `json:"id"`
		Type        string        `json:"type"`
		Data        change.Change `json:"data"`
	}
	err = json.Unmarshal(body, &event)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.errs = append(r.errs, err.Error())
		return http.StatusBadRequest
	}
	d := Delivery{ID: req.Header.Get("webhook-id"), Body: string(body), Change: event.Data, At: time.Now()}
	before := r.times[d.ID]
	r.times[d.ID]++
	if r.answer != nil {
		if status := r.answer(d, before); status != http.StatusNoContent {
			return status
		}
	}
	if err := hook.Verify(body, req.Header); err != nil {
		r.errs = append(r.errs, fmt.Sprintf("delivery %s: %v", d.ID, err))
		return http.StatusUnauthorized
	}
	if event.SpecVersion != "1.0" || event.ID != d.ID || event.Type != "org.fresnel.resource."+string(event.Data.Action) {
		r.errs = append(r.errs, fmt.Sprintf("delivery %s: envelope %s %s %s", d.ID, event.SpecVersion, event.ID, event.Type))
	}
	r.all = append(r.all, d)
	return http.StatusNoContent
}

// Deliveries are all accepted so far, in order of arrival, repeats included.
func (r *Receiver) Deliveries() []Delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

// Count is how many deliveries were accepted so far.
func (r *Receiver) Count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.all)
}

// Errors are all deliveries that did not verify or decode.
func (r *Receiver) Errors() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.errs)
}

// Firsts are the first occurrences of the deliveries, by resource, in order.
// Repeats with other bytes are reported as errors of the test.
func (r *Receiver) Firsts(t testing.TB) map[change.Resource][]change.Change {
	t.Helper()
	bodies := map[string]string{}
	by := map[change.Resource][]change.Change{}
	for _, d := range r.Deliveries() {
		if b, ok := bodies[d.ID]; ok {
			if b != d.Body {
				t.Errorf("delivery %s came again with other bytes:\n%s\n%s", d.ID, b, d.Body)
			}
			continue
		}
		bodies[d.ID] = d.Body
		by[d.Change.Resource] = append(by[d.Change.Resource], d.Change)
	}
	return by
}
