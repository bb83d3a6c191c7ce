package searchapi

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// Books is the accounting of what came in.
type Books interface {
	Books(ctx context.Context) ([]Book, error)
}

// Book is the tally of one input partition, from its beginning.
type Book struct {
	Role      string `json:"role"` // listener or indexer
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	Offset    int64  `json:"offset"` // committed together with the tally
	// Input is what came in; the Outcomes must add up to it.
	Input    int64            `json:"input"`
	Outcomes map[string]int64 `json:"outcomes"`
	// Reasons split outcomes up: {"dead": {"malformed": 2}}.
	Reasons map[string]map[string]int64 `json:"reasons,omitempty"`
	// Notes are counts beside the sum, such as mutations made and offsets lost.
	Notes map[string]int64 `json:"notes,omitempty"`
}

// addsUp reports whether everything that came in is accounted for.
func (b Book) addsUp() bool {
	var sum int64
	for _, n := range b.Outcomes {
		sum += n
	}
	return sum == b.Input
}

// Status is what an operator wants to know first.
type Status struct {
	Version string            `json:"version"`
	Started time.Time         `json:"started"`
	Roles   []string          `json:"roles,omitempty"`
	Listen  map[string]string `json:"listen"` // what listens, and where
	Topics  []string          `json:"topics"` // that are read
	Data    string            `json:"data,omitempty"`
}

// adminRoutes lays out the operators' API.
func (s *Server) adminRoutes(g *gin.RouterGroup) {
	g.GET("/deadletters", s.listDeadLetters)
	g.GET("/deadletters/*id", s.showDeadLetter)
	g.POST("/deadletters/*id", s.replayDeadLetter)
	g.DELETE("/deadletters/*id", s.dropDeadLetter)
	g.GET("/books", s.books)
	g.GET("/status", s.status)
	g.GET("/feeds", s.listTopics)
	g.DELETE("/feeds/:id", s.revokeTopic)
	s.deliveryRoutes(g)
	s.indexRoutes(g)
	s.pluginRoutes(g)
}

// account is the books of one role.
type account struct {
	Partitions []Book           `json:"partitions"`
	Input      int64            `json:"input"`
	Outcomes   map[string]int64 `json:"outcomes"`
	Notes      map[string]int64 `json:"notes,omitempty"`
	AddsUp     bool             `json:"adds_up"`
}

func (s *Server) books(c *gin.Context) {
	if s.deps.Books == nil {
		s.fail(c, errNotServed)
		return
	}
	list, err := s.deps.Books.Books(c.Request.Context())
	if err != nil {
		s.fail(c, err)
		return
	}
	roles, all := map[string]*account{}, true
	for _, b := range list {
		a := roles[b.Role]
		if a == nil {
			a = &account{Outcomes: map[string]int64{}, Notes: map[string]int64{}, AddsUp: true}
			roles[b.Role] = a
		}
		a.Partitions = append(a.Partitions, b)
		a.Input += b.Input
		for k, n := range b.Outcomes {
			a.Outcomes[k] += n
		}
		for k, n := range b.Notes {
			a.Notes[k] += n
		}
		a.AddsUp = a.AddsUp && b.addsUp()
		all = all && b.addsUp()
	}
	for _, a := range roles {
		slices.SortFunc(a.Partitions, func(a, b Book) int {
			return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
		})
	}
	s.answer(c, http.StatusOK, gin.H{"books": roles, "adds_up": all})
}

func (s *Server) status(c *gin.Context) {
	if s.deps.Status == nil {
		s.fail(c, errNotServed)
		return
	}
	s.answer(c, http.StatusOK, s.deps.Status())
}

// letterID is the id in a path: it has slashes of its own.
func letterID(c *gin.Context) string { return strings.TrimPrefix(c.Param("id"), "/") }

func letterQuery(c *gin.Context) (DeadLetterQuery, error) {
	q := DeadLetterQuery{Limit: 100}
	allowed := []string{"kind", "after", "limit"}
	for key, values := range c.Request.URL.Query() {
		v := values[len(values)-1]
		switch key {
		case "kind":
			kinds := []string{record.DeadNotification, record.DeadMutation, record.DeadDelivery}
			if q.Kind = v; v != "" && !slices.Contains(kinds, v) {
				return q, &query.Error{Path: key, Detail: "must be one of " + strings.Join(kinds, ", ")}
			}
		case "after":
			q.After = v
		case "limit":
			n, err := strconv.Atoi(v)
			if err != nil || n < 1 || n > 1000 {
				return q, &query.Error{Path: key, Detail: "must be a whole number from 1 to 1000"}
			}
			q.Limit = n
		default:
			return q, unknownParameter(key, allowed)
		}
	}
	return q, nil
}
