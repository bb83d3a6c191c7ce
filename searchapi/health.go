package searchapi

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// State is how a part of the process is doing.
type State string

// The states. Only a part that is Down makes the process not ready.
const (
	Up       State = "up"
	Degraded State = "degraded" // works, but behind or with something broken
	Down     State = "down"     // cannot do its work
)

// Part is one part of the process, such as listener, indexer or a subscription.
type Part struct {
	Name   string `json:"name"`
	State  State  `json:"state"`
	Reason string `json:"reason,omitempty"` // why it is not up; never holds a secret
}

type readiness struct {
	Ready bool   `json:"ready"`
	Parts []Part `json:"parts"`
}

// health says that the process answers, and nothing more.
func (s *Server) health(c *gin.Context) { s.answer(c, http.StatusOK, gin.H{"status": "ok"}) }

// ready lists all parts; the status is 503 only if one cannot work.
func (s *Server) ready(c *gin.Context) {
	out := readiness{Ready: true, Parts: []Part{}}
	if s.deps.Searcher != nil {
		out.Parts = append(out.Parts, Part{Name: "searchapi", State: Up})
	}
	if s.deps.Ready != nil {
		out.Parts = append(out.Parts, s.deps.Ready()...)
	}
	status := http.StatusOK
	for _, p := range out.Parts {
		if p.State == Down {
			out.Ready, status = false, http.StatusServiceUnavailable
		}
	}
	s.answer(c, status, out)
}

func (s *Server) prometheus() gin.HandlerFunc {
	return gin.WrapH(promhttp.HandlerFor(s.deps.Metrics, promhttp.HandlerOpts{}))
}

// versions answers whatever does not name a version, as Searchlight did.
func (s *Server) versions(c *gin.Context) {
	s.answer(c, http.StatusMultipleChoices, gin.H{"versions": []gin.H{{
		"id": "v1.0", "status": "CURRENT", "links": []gin.H{{"rel": "self", "href": s.base(c) + "/v1/"}},
	}}})
}

// base is how the client reaches this server, for links.
func (s *Server) base(c *gin.Context) string {
	if base := strings.TrimSuffix(s.config.PublicEndpoint, "/"); base != "" {
		return base
	}
	return "http://" + c.Request.Host
}
