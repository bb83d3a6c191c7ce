package searchapi

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/fresnel-search/fresnel/searchapi/policy"
)

const (
	requestIDHeader = "X-Openstack-Request-Id"
	requestIDKey    = "request_id"
	callerKey       = "caller"
)

// identify gives the request an id, or keeps the one that it came with, and counts it.
func (s *Server) identify(c *gin.Context) {
	id := requestID(c.GetHeader(requestIDHeader))
	c.Set(requestIDKey, id)
	c.Header(requestIDHeader, id)
	c.Header("X-Content-Type-Options", "nosniff")
	start := time.Now()
	c.Next()
	took := time.Since(start)
	s.metrics.observe(c.FullPath(), c.Writer.Status(), took)
	s.log.Debug("request answered", "request_id", id, "method", c.Request.Method, "route", c.FullPath(),
		"status", c.Writer.Status(), "duration", took)
}

// requestID returns the id of a request, which always begins with req-.
func requestID(given string) string {
	const longest = 64
	given = strings.TrimPrefix(given, "req-")
	word := func(r rune) bool {
		return r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	if given == "" || len(given) > longest || strings.IndexFunc(given, func(r rune) bool { return !word(r) }) >= 0 {
		given = uuid.NewString()
	}
	return "req-" + given
}

// recovered turns a panic into an answer; one request's bug ends no other.
func (s *Server) recovered(c *gin.Context) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(p)
		}
		s.log.Error("request panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		s.fail(c, fmt.Errorf("panic: %v", p))
	}()
	c.Next()
}

// authenticated finds out who asks.
func (s *Server) authenticated(c *gin.Context) {
	caller, err := s.deps.Identity.Authenticate(c.Request.Context(), c.Request)
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Set(callerKey, caller)
}

// callerOf is the caller that authenticated has found.
func callerOf(c *gin.Context) policy.Caller {
	caller, ok := c.MustGet(callerKey).(policy.Caller)
	if !ok {
		panic("searchapi: a route without authentication asks for its caller")
	}
	return caller
}

// adminOnly lets admins pass.
func (s *Server) adminOnly(c *gin.Context) {
	if !callerOf(c).Admin {
		s.fail(c, fmt.Errorf("%w: only admins may do this", policy.ErrForbidden))
	}
}
