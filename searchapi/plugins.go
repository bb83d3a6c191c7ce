package searchapi

import (
	"context"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
)

// Plugins is the operators' view of the publisher plugins. One that is not there is
// ErrNotFound, what cannot be done now ErrConflict.
type Plugins interface {
	List(ctx context.Context) ([]Plugin, error)
	// Manifest returns what a plugin says of itself.
	Manifest(ctx context.Context, name string) (any, error)
	// Resume starts a plugin now that is in quarantine, and returns when it is ready.
	Resume(ctx context.Context, name string) error
	// Reload replaces a plugin by what is installed now, and returns when that is ready.
	Reload(ctx context.Context, name string) error
}

// Plugin is how one plugin is doing.
type Plugin struct {
	Name     string    `json:"name"`
	Origin   string    `json:"origin"` // built in, folder, program or remote
	Path     string    `json:"path,omitempty"`
	Version  string    `json:"version,omitempty"`
	Schemes  []string  `json:"schemes"`
	State    string    `json:"state"`
	Since    time.Time `json:"since"` // it is in that state
	Reason   string    `json:"reason,omitempty"`
	PID      int       `json:"pid,omitempty"`
	Restarts int       `json:"restarts"`
	Memory   int64     `json:"resident_bytes,omitempty"`
	CPU      float64   `json:"cpu_seconds,omitempty"`
}

func (s *Server) pluginRoutes(g *gin.RouterGroup) {
	if s.deps.Plugins == nil {
		return
	}
	g.GET("/plugins", s.listPlugins)
	g.GET("/plugins/:name", s.showPlugin)
	g.POST("/plugins/:name/resume", s.changePlugin(s.deps.Plugins.Resume))
	g.POST("/plugins/:name/reload", s.changePlugin(s.deps.Plugins.Reload))
}

func (s *Server) listPlugins(c *gin.Context) {
	list, err := s.deps.Plugins.List(c.Request.Context())
	if err != nil {
		s.fail(c, err)
		return
	}
	s.answer(c, http.StatusOK, gin.H{"plugins": some(list)})
}

func (s *Server) showPlugin(c *gin.Context) {
	name := c.Param("name")
	m, err := s.deps.Plugins.Manifest(c.Request.Context(), name)
	if err != nil {
		s.fail(c, err)
		return
	}
	list, err := s.deps.Plugins.List(c.Request.Context())
	if err != nil {
		s.fail(c, err)
		return
	}
	for _, p := range list {
		if p.Name == name {
			s.answer(c, http.StatusOK, gin.H{"plugin": p, "manifest": m})
			return
		}
	}
	s.fail(c, ErrNotFound)
}

// changePlugin answers when the plugin is ready, or with why it is not.
func (s *Server) changePlugin(change func(context.Context, string) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		name := c.Param("name")
		if err := change(c.Request.Context(), name); err != nil {
			s.fail(c, err)
			return
		}
		s.answer(c, http.StatusOK, gin.H{"name": name, "state": "ready"})
	}
}
