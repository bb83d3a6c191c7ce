package searchapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/fresnel-search/fresnel/searchapi/feed"
	"github.com/fresnel-search/fresnel/searchapi/policy"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// feedRoutes lays out the feeds: for tenants, and under a capability for hubs.
func (s *Server) feedRoutes(g *gin.RouterGroup) {
	const tenants, hubs = "/tenants/:id/events", "/tenants/:id/events/:token"
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		g.Handle(method, tenants, s.authenticated, s.tenantEvents)
		g.Handle(method, hubs, s.hubEvents)
	}
}

// tenantEvents answers with a tenant's feed, to the tenant itself and to admins. Where
// hubs may see the feed, its own URL is the one by which they know it.
func (s *Server) tenantEvents(c *gin.Context) {
	caller, project := callerOf(c), c.Param("id")
	switch {
	case s.deps.Feeds == nil:
		s.fail(c, errNotServed)
		return
	case project == "" || project != caller.ProjectID && !caller.Admin:
		s.fail(c, query.ErrNotFound)
		return
	}
	topic, err := s.deps.Feeds.Topic(c.Request.Context(), project)
	if err != nil {
		s.fail(c, err)
		return
	}
	if topic == "" {
		topic = s.base(c) + "/v1/tenants/" + url.PathEscape(project) + "/events"
	}
	s.feed(c, caller, feed.Document{Project: project, Self: topic})
}

// hubEvents answers with a tenant's feed as hubs may see it, to whoever knows the
// token. Whatever is wrong with the token, there is nothing.
func (s *Server) hubEvents(c *gin.Context) {
	c.Header("Referrer-Policy", "no-referrer")
	if s.deps.Feeds == nil {
		s.fail(c, query.ErrNotFound)
		return
	}
	project := c.Param("id")
	view, err := s.deps.Feeds.Opens(c.Request.Context(), project, c.Param("token"))
	if err != nil {
		s.fail(c, err)
		return
	}
	if view == feed.None {
		s.fail(c, query.ErrNotFound)
		return
	}
	topic, err := s.deps.Feeds.Topic(c.Request.Context(), project)
	if err != nil {
		s.fail(c, err)
		return
	}
	s.feed(c, policy.Caller{ProjectID: project}, feed.Document{Project: project, Self: topic, Thin: view == feed.Thin})
}

// feed answers with a feed, or with 304 if the client has it already. The headers
// repeat the links, for clients that do not look into the body.
func (s *Server) feed(c *gin.Context, caller policy.Caller, d feed.Document) {
	d.Hubs, d.Base = s.deps.Feeds.Hubs(d.Project), s.base(c)
	err := s.run(c.Request.Context(), caller, func(ctx context.Context) (err error) {
		d.Entries, err = s.deps.Feeds.Newest(ctx, d.Project)
		return err
	})
	if err != nil {
		s.fail(c, err)
		return
	}
	body, err := d.Atom()
	if err != nil {
		s.fail(c, err)
		return
	}
	var links []string
	for _, hub := range d.Hubs {
		links = append(links, fmt.Sprintf(`<%s>; rel="hub"`, hub))
	}
	links = append(links, fmt.Sprintf(`<%s>; rel="self"`, d.Self))
	c.Header("Link", strings.Join(links, ", "))
	sum := sha256.Sum256(body)
	etag := `"` + hex.EncodeToString(sum[:16]) + `"`
	c.Header("ETag", etag)
	c.Header("Cache-Control", "private, no-cache")
	c.Header("Vary", "X-Auth-Token, Authorization")
	if matches(c.GetHeader("If-None-Match"), etag) {
		c.Status(http.StatusNotModified)
		return
	}
	c.Data(http.StatusOK, feed.AtomType+"; charset=utf-8", body)
}

// matches reports whether If-None-Match names the entity.
func matches(header, etag string) bool {
	for one := range strings.SplitSeq(header, ",") {
		if one = strings.TrimPrefix(strings.TrimSpace(one), "W/"); one == etag || one == "*" {
			return true
		}
	}
	return false
}

// listTopics lists the feeds that hubs know, without what they know them by.
func (s *Server) listTopics(c *gin.Context) {
	if s.deps.Feeds == nil {
		s.fail(c, errNotServed)
		return
	}
	topics, err := s.deps.Feeds.Topics(c.Request.Context())
	if err != nil {
		s.fail(c, err)
		return
	}
	s.answer(c, http.StatusOK, gin.H{"feeds": topics})
}

// revokeTopic ends the capability by which hubs read a feed.
func (s *Server) revokeTopic(c *gin.Context) {
	if s.deps.Feeds == nil {
		s.fail(c, errNotServed)
		return
	}
	project := c.Param("id")
	had, err := s.deps.Feeds.Revoke(c.Request.Context(), project)
	if err == nil && !had {
		err = fmt.Errorf("%w: hubs know no feed of project %s", ErrNotFound, project)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.answer(c, http.StatusOK, gin.H{"project": project, "revoked": true})
}
