package searchapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/searchapi/policy"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// Errors that ports return and that become answers of their own.
var (
	// ErrNotFound says that there is no such thing, of an operator's things.
	ErrNotFound = errors.New("not found")
	// ErrConflict says that the thing is not in a state for this; what wraps it says why.
	ErrConflict = errors.New("not possible now")
	// ErrUnavailable says that what an operator asked for needs something that does not
	// answer now; what wraps it says what.
	ErrUnavailable = errors.New("not available now")

	errBusy         = errors.New("too many searches at once; try again in a second")
	errQueryTimeout = errors.New("the search took too long")
	errTooLarge     = errors.New("the request is too large")
	errMethod       = errors.New("method not allowed")
	errNotServed    = errors.New("this process does not serve that")
	errStarting     = errors.New("this process is starting; try again")
)

// problem is RFC 9457's problem details. Legacy is what python-searchlightclient
// reads.
type problem struct {
	Type      string  `json:"type"`
	Title     string  `json:"title"`
	Status    int     `json:"status"`
	Detail    string  `json:"detail"`
	Path      string  `json:"path,omitempty"` // of the offending key in the request
	RequestID string  `json:"request_id,omitempty"`
	Legacy    *legacy `json:"error"`
}

type legacy struct {
	Code    int    `json:"code"`
	Title   string `json:"title"`
	Message string `json:"message"`
}

// problemOf is the one place that decides what an error is to a client. What is not
// the client's doing is not told to it.
func problemOf(err error) problem {
	var invalid *query.Error
	var tooLarge *http.MaxBytesError
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	switch {
	case errors.As(err, &invalid):
		p := newProblem("invalid-request", http.StatusBadRequest, invalid.Error())
		p.Path = invalid.Path
		return p
	case is(errTooLarge), errors.As(err, &tooLarge):
		return newProblem("too-large", http.StatusRequestEntityTooLarge, errTooLarge.Error())
	case is(policy.ErrUnauthenticated):
		return newProblem("unauthenticated", http.StatusUnauthorized, err.Error())
	case is(policy.ErrForbidden):
		return newProblem("forbidden", http.StatusForbidden, err.Error())
	case is(query.ErrNotFound):
		return newProblem("not-found", http.StatusNotFound, query.ErrNotFound.Error())
	case is(ErrNotFound, errNotServed):
		return newProblem("not-found", http.StatusNotFound, err.Error())
	case is(errMethod):
		return newProblem("method-not-allowed", http.StatusMethodNotAllowed, err.Error())
	case is(ErrConflict):
		return newProblem("conflict", http.StatusConflict, err.Error())
	case is(ErrUnavailable):
		return newProblem("unavailable", http.StatusServiceUnavailable, err.Error())
	case is(errBusy):
		return newProblem("busy", http.StatusTooManyRequests, errBusy.Error())
	case is(errQueryTimeout, context.DeadlineExceeded):
		return newProblem("timeout", http.StatusGatewayTimeout, errQueryTimeout.Error()+"; ask for less")
	case is(errStarting):
		return newProblem("unavailable", http.StatusServiceUnavailable, errStarting.Error())
	case is(resource.ErrAgain, context.Canceled):
		return newProblem("unavailable", http.StatusServiceUnavailable, "the index is busy; try again")
	}
	return newProblem("internal", http.StatusInternalServerError, "something went wrong here; the log of the server has more under the request id")
}

func newProblem(kind string, status int, detail string) problem {
	title := http.StatusText(status)
	return problem{
		Type: "urn:fresnel:problem:" + kind, Title: title, Status: status, Detail: detail,
		Legacy: &legacy{Code: status, Title: title, Message: detail},
	}
}

// fail answers with an error and ends the request.
func (s *Server) fail(c *gin.Context, err error) {
	c.Abort()
	p := problemOf(err)
	p.RequestID = c.GetString(requestIDKey)
	switch p.Status {
	case http.StatusUnauthorized:
		c.Header("WWW-Authenticate", s.deps.Identity.Challenge())
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		c.Header("Retry-After", "1")
	}
	if p.Status == http.StatusInternalServerError {
		s.log.Error("request failed", "err", err, "request_id", p.RequestID, "route", c.FullPath())
	}
	if c.Writer.Written() {
		return
	}
	s.write(c, p.Status, "application/problem+json", p)
}

// answer writes a JSON answer.
func (s *Server) answer(c *gin.Context, status int, body any) {
	s.write(c, status, "application/json", body)
}

func (s *Server) write(c *gin.Context, status int, contentType string, body any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		s.log.Error("answer is not encodable", "err", err, "route", c.FullPath())
		c.Status(http.StatusInternalServerError)
		return
	}
	c.Data(status, contentType, b.Bytes())
}

func (s *Server) noRoute(c *gin.Context) {
	first, _, _ := strings.Cut(strings.TrimPrefix(c.Request.URL.Path, "/"), "/")
	if first != "v1" && first != "v1.0" && first != "healthz" && first != "readyz" && first != "metrics" {
		s.versions(c)
		return
	}
	s.fail(c, fmt.Errorf("%w: there is nothing at this path", ErrNotFound))
}

// noMethod answers with the methods that gin has put into Allow.
func (s *Server) noMethod(c *gin.Context) {
	s.fail(c, fmt.Errorf("%w: allowed here: %s", errMethod, c.Writer.Header().Get("Allow")))
}
