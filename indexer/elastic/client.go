package elastic

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/fresnel-search/fresnel/indexer/elastic/layout"
)

// maxAnswer bounds what is read of one answer, in bytes.
const maxAnswer = 1 << 30

// client sends requests of go-elasticsearch's esapi, and bounds each in time. It does
// so over the transport below that and not by the root package: that one compiles its
// typed API of 850 packages, and refuses OpenSearch after the server has obeyed.
type client struct {
	es      *elastictransport.Client
	http    *http.Transport
	flavor  layout.Flavor
	timeout time.Duration
}

// private reports whether documents or a caller's text are in the body.
func private(q esapi.Request) bool {
	switch q.(type) {
	case esapi.BulkRequest, esapi.MgetRequest, esapi.SearchRequest:
		return true
	}
	return false
}

// ndjson is the header of a body of JSON lines. Each request needs its own: the
// transport adds to them.
func ndjson() http.Header { return http.Header{"Content-Type": {"application/x-ndjson"}} }

// Error is an answer of the server that is no success.
type Error struct {
	Status int
	Type   string // such as cluster_block_exception; empty if the answer was no JSON
	Cause  string // the type of the first root cause, if it is another
	// Reason is the server's text, cut. It may quote what was sent.
	Reason string
	// private says that documents or a caller's text were sent.
	private bool
}

// Error leaves the reason out if it may quote documents or a caller's text.
func (e *Error) Error() string {
	s := "the server answers " + strconv.Itoa(e.Status)
	if e.Type != "" {
		s += " " + e.Type
	}
	if e.Cause != "" {
		s += " (" + e.Cause + ")"
	}
	if e.Reason != "" && !e.private {
		s += ": " + e.Reason
	}
	return s
}

func newClient(cfg Config) (*client, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableCompression = !cfg.Compress
	t.MaxIdleConnsPerHost = 64
	t.DialContext = (&net.Dialer{Timeout: min(cfg.Timeout, 5*time.Second), KeepAlive: 15 * time.Second}).DialContext
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, errors.New("ca_file: no certificate in PEM in it")
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	urls := make([]*url.URL, len(cfg.Addresses))
	for i, a := range cfg.Addresses {
		u, err := url.Parse(strings.TrimRight(a, "/"))
		if err != nil {
			return nil, fmt.Errorf("addresses[%d]: no URL", i)
		}
		urls[i] = u
	}
	options := []elastictransport.Option{
		elastictransport.WithUserAgent("fresnel"), elastictransport.WithURLs(urls...), elastictransport.WithTransport(t),
	}
	if cfg.Username != "" {
		options = append(options, elastictransport.WithBasicAuth(cfg.Username, cfg.Password.Reveal()))
	}
	if !cfg.APIKey.Empty() {
		options = append(options, elastictransport.WithAPIKey(cfg.APIKey.Reveal()))
	}
	if cfg.Compress {
		options = append(options, elastictransport.WithCompression(gzip.BestSpeed))
	}
	if len(urls) < 2 {
		options = append(options, elastictransport.WithDisableRetry())
	} else {
		options = append(options, elastictransport.WithRetry(len(urls)-1, http.StatusBadGateway), elastictransport.WithRetryOnError(elsewhere))
	}
	es, err := elastictransport.NewClient(options...)
	if err != nil {
		return nil, fmt.Errorf("elasticsearch transport: %w", err)
	}
	return &client{es: es, http: t, flavor: cfg.Flavor, timeout: cfg.Timeout}, nil
}

// elsewhere reports whether another node is asked after an error: always if nothing was
// sent, and else only if the request changes nothing.
func elsewhere(r *http.Request, err error) bool {
	if r.Context().Err() != nil {
		return false
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return true
	}
	return r.Method == http.MethodGet || strings.HasSuffix(r.URL.Path, "/_search") || strings.HasSuffix(r.URL.Path, "/_mget")
}

// ErrNoAnswer says that no server answered: it is not known what became of the request.
var ErrNoAnswer = errors.New("no answer")

// errTimeout is the cause of a request that the server did not answer in time.
var errTimeout = errors.New("the server did not answer in time")

// do sends a request and returns the body of a 2xx answer. The error is an *Error for
// any other one; else it is not known whether the server carried the request out. What
// the request's body reads must not change until do returns nil.
func (c *client) do(ctx context.Context, q esapi.Request) ([]byte, error) {
	return c.within(ctx, c.timeout, q)
}

// within is do with a limit of its own.
func (c *client) within(ctx context.Context, limit time.Duration, q esapi.Request) ([]byte, error) {
	return c.bounded(ctx, limit, maxAnswer, q)
}

// errLong says that an answer has more bytes than it may.
var errLong = errors.New("the answer is too long")

// bounded is within for answers of at most so many bytes: what is longer wraps errLong.
func (c *client) bounded(ctx context.Context, limit time.Duration, most int, q esapi.Request) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errTimeout)
	defer cancel()
	res, err := q.Do(ctx, c.es)
	if err != nil {
		return nil, lost(ctx, limit, err)
	}
	body, err := readAll(res, most)
	if cerr := res.Body.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, lost(ctx, limit, err)
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		e := errorOf(res.StatusCode, body)
		e.private = private(q)
		return nil, e
	}
	return body, nil
}

// lost says why there is no answer; the causes that callers ask for stay in it.
func lost(ctx context.Context, limit time.Duration, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		if errors.Is(cause, errTimeout) {
			return fmt.Errorf("%w: %w (%s)", ErrNoAnswer, errTimeout, limit)
		}
		return cause
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // without the URL
	}
	return fmt.Errorf("%w: %w", ErrNoAnswer, err)
}

func readAll(res *esapi.Response, most int) ([]byte, error) {
	var b bytes.Buffer
	if n, err := strconv.Atoi(res.Header.Get("Content-Length")); err == nil && n > 0 && n <= most {
		b.Grow(n + bytes.MinRead)
	}
	n, err := b.ReadFrom(io.LimitReader(res.Body, int64(most)+1))
	if err == nil && n > int64(most) {
		err = fmt.Errorf("%w: it has more than %d bytes", errLong, most)
	}
	return b.Bytes(), err
}

const (
	maxErrorBody = 1 << 20
	maxReason    = 300
)

// errorOf makes an error of what a server, or a proxy before it, answered.
func errorOf(status int, body []byte) *Error {
	e := &Error{Status: status}
	var answer struct {
		Error json.RawMessage `json:"error"`
	}
	if len(body) > maxErrorBody || json.Unmarshal(body, &answer) != nil {
		return e
	}
	var detail struct {
		Type   string `json:"type"`
		Reason string `json:"reason"`
		Root   []struct {
			Type string `json:"type"`
		} `json:"root_cause"`
	}
	if json.Unmarshal(answer.Error, &detail) != nil {
		var text string
		if json.Unmarshal(answer.Error, &text) == nil {
			e.Reason = cut(text)
		}
		return e
	}
	e.Type, e.Reason = identifier(detail.Type), cut(detail.Reason)
	if len(detail.Root) > 0 && detail.Root[0].Type != detail.Type {
		e.Cause = identifier(detail.Root[0].Type)
	}
	return e
}

// identifier keeps what a type of error can be made of.
func identifier(s string) string {
	for i := range len(s) {
		if c := s[i]; i == 64 || (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return s[:i]
		}
	}
	return s
}

// cut makes one short line of a server's text.
func cut(s string) string {
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "") + "..."
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// ErrMismatch says that what answers is not what the configuration says.
var ErrMismatch = errors.New("the configuration is for another server")

// check asks what answers, and compares it with the flavor of the configuration.
func (c *client) check(ctx context.Context) error {
	body, err := c.do(ctx, esapi.InfoRequest{})
	if err != nil {
		return err
	}
	var info struct {
		Version struct {
			Number       string `json:"number"`
			Distribution string `json:"distribution"`
		} `json:"version"`
	}
	if json.Unmarshal(body, &info) != nil || info.Version.Number == "" {
		return fmt.Errorf("%w: what answers is neither Elasticsearch nor OpenSearch", ErrMismatch)
	}
	is, least := layout.Elasticsearch, 8
	if info.Version.Distribution == string(layout.OpenSearch) {
		is, least = layout.OpenSearch, 2
	}
	if is != c.flavor {
		return fmt.Errorf("%w: flavor is %s, and what answers is %s %s", ErrMismatch, c.flavor, is, cut(info.Version.Number))
	}
	major, _, _ := strings.Cut(info.Version.Number, ".")
	if n, err := strconv.Atoi(major); err != nil || n < least {
		return fmt.Errorf("%w: %s %s is too old: at least %d is needed", ErrMismatch, is, cut(info.Version.Number), least)
	}
	return nil
}

func (c *client) close() { c.http.CloseIdleConnections() }
