package elastic

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestACopyNeverReadsMoreBytesThanItMay(t *testing.T) {
	t.Parallel()
	var asked []int
	one := `{"_id":"a","_seq_no":1,"_source":{"x":"` + strings.Repeat("x", 100<<10) + `"}}`
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct{ Size int }
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			t.Error(err)
		}
		asked = append(asked, q.Size)
		if q.Size > mostPage/2 { // all that the server itself can bear
			w.WriteHeader(http.StatusTooManyRequests)
			fmt.Fprintf(w, `{"error":{"type":"search_phase_execution_exception","root_cause":[{"type":%q}]}}`, typeBreaker)
			return
		}
		fmt.Fprint(w, `{"hits":{"hits":[`)
		for i := range q.Size {
			if i > 0 {
				fmt.Fprint(w, ",")
			}
			if _, err := io.WriteString(w, one); err != nil {
				return // it was not read to its end
			}
		}
		fmt.Fprint(w, `]}}`)
	}))
	t.Cleanup(srv.Close)
	cfg := DefaultConfig()
	cfg.Addresses, cfg.Timeout = []string{srv.URL}, time.Minute // there may be no hurry elsewhere
	c, err := newClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	r := &rebuild{s: &Store{cfg: cfg, c: c}, page: mostPage}
	page, size, err := r.read(t.Context(), 0, -1, 1<<20)
	if err != nil || len(page) != r.page || size > tooLarge || fmt.Sprint(asked) != "[2000 500 125]" {
		t.Errorf("%d documents of %d bytes, %v, after pages of %v", len(page), size, err, asked)
	}
}
