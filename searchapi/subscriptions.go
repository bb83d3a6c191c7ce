package searchapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/fresnel-search/fresnel/searchapi/query"
)

// Subscriptions is the operators' view of subscriptions. A name that is not there is
// ErrNotFound; one that another process serves is ErrConflict.
type Subscriptions interface {
	List(ctx context.Context) ([]Subscription, error)
	// Pause stops a subscription until Resume. It returns when that is stored.
	Pause(ctx context.Context, name string) error
	// Resume lets a subscription go on that was paused or suspended, and tries at once
	// what waits. It returns when that is stored.
	Resume(ctx context.Context, name string) error
}

// Subscription is how one subscription is doing.
type Subscription struct {
	Name        string `json:"name"`
	Publisher   string `json:"publisher"`
	Destination string `json:"destination,omitempty"` // without credentials
	// State is working, probing, suspended, paused, starting, standby or fenced.
	State     string    `json:"state"`
	Reason    string    `json:"reason,omitempty"`
	Since     time.Time `json:"since,omitzero"` // of a state that is not working
	NextProbe time.Time `json:"next_probe,omitzero"`
	Lag       int64     `json:"lag"` // changes between its cursor and the head
	// LagSeconds is how old the oldest change is that is neither settled nor parked.
	LagSeconds float64          `json:"lag_seconds"`
	Parked     int              `json:"parked"` // deliveries that wait for another attempt
	Counters   map[string]int64 `json:"counters,omitempty"`
	// Settled counts what became of the changes that it wanted, since it was made.
	Settled map[string]int64 `json:"settled,omitempty"`
	Cursors map[int]int64    `json:"cursors,omitempty"` // by partition of the change log
	// Settings are what it is told: durability, message_ttl, when_behind, filter.
	Settings map[string]any `json:"settings,omitempty"`
}

// Deliveries is the operators' view of what is not settled, or was given up on.
type Deliveries interface {
	// List returns deliveries by subscription and id, at most q.Limit.
	List(ctx context.Context, q DeliveryQuery) ([]Delivery, error)
	// Get returns one with its event.
	Get(ctx context.Context, subscription, id string) (Delivery, *Event, error)
	// Redeliver tries one again at once, with the same id and bytes: a dead letter, or
	// one that waits for its next attempt. ErrConflict says why that cannot be.
	Redeliver(ctx context.Context, subscription, id string) error
}

// DeliveryQuery asks for a page of deliveries.
type DeliveryQuery struct {
	Subscription string // empty: of all
	State        string // empty: in any
	// AfterSubscription and AfterID name the last one of the page before.
	AfterSubscription, AfterID string
	Limit                      int
}

// Delivery is one change for one subscription.
type Delivery struct {
	Subscription string    `json:"subscription"`
	ID           string    `json:"id"`
	State        string    `json:"state"`    // ready, in_flight, waiting, behind, dying or dead
	Resource     string    `json:"resource"` // type/id
	Lineage      string    `json:"lineage,omitempty"`
	Revision     int64     `json:"revision,omitempty"`
	Urgent       bool      `json:"urgent,omitempty"`
	Attempts     int       `json:"attempts"`
	Parked       bool      `json:"parked,omitempty"`
	Due          time.Time `json:"due,omitzero"`
	Expires      time.Time `json:"expires,omitzero"`
	Time         time.Time `json:"time,omitzero"` // when it was given up on
	Code         string    `json:"code,omitempty"`
	Detail       string    `json:"detail,omitempty"`
	Partition    int       `json:"partition"`
	Offset       int64     `json:"offset"`
	Size         int64     `json:"size"`
}

// Event is what a delivery delivers.
type Event struct {
	ID          string            `json:"id"`
	Type        string            `json:"type"`
	Source      string            `json:"source"`
	Subject     string            `json:"subject"`
	Time        time.Time         `json:"time"`
	ContentType string            `json:"content_type"`
	Attributes  map[string]string `json:"attributes,omitempty"`
	Data        []byte            `json:"-"`
}

// deliveryRoutes lays out the operators' API of subscriptions and deliveries.
func (s *Server) deliveryRoutes(g *gin.RouterGroup) {
	g.GET("/subscriptions", s.listSubscriptions)
	g.GET("/subscriptions/:name", s.showSubscription)
	g.POST("/subscriptions/:name/:action", s.actOnSubscription)
	g.GET("/deliveries", s.listDeliveries)
	g.GET("/deliveries/:subscription/*id", s.showDelivery)
	g.POST("/deliveries/:subscription/*id", s.redeliver)
}

// subscriptions are all of them; false if the answer is given.
func (s *Server) subscriptions(c *gin.Context) ([]Subscription, bool) {
	if s.deps.Subscriptions == nil {
		s.fail(c, errNotServed)
		return nil, false
	}
	list, err := s.deps.Subscriptions.List(c.Request.Context())
	if err != nil {
		s.fail(c, err)
		return nil, false
	}
	return list, true
}

func (s *Server) listSubscriptions(c *gin.Context) {
	list, ok := s.subscriptions(c)
	if !ok {
		return
	}
	if list == nil {
		list = []Subscription{}
	}
	s.answer(c, http.StatusOK, gin.H{"subscriptions": list})
}

func (s *Server) showSubscription(c *gin.Context) {
	list, ok := s.subscriptions(c)
	if !ok {
		return
	}
	i := slices.IndexFunc(list, func(one Subscription) bool { return one.Name == c.Param("name") })
	if i < 0 {
		s.fail(c, fmt.Errorf("subscription %q: %w", c.Param("name"), ErrNotFound))
		return
	}
	s.answer(c, http.StatusOK, list[i])
}

func (s *Server) actOnSubscription(c *gin.Context) {
	if s.deps.Subscriptions == nil {
		s.fail(c, errNotServed)
		return
	}
	name, act, done := c.Param("name"), s.deps.Subscriptions.Resume, "resumed"
	switch c.Param("action") {
	case "resume":
	case "pause":
		act, done = s.deps.Subscriptions.Pause, "paused"
	default:
		s.fail(c, fmt.Errorf("%w: only pause and resume can be posted to", ErrNotFound))
		return
	}
	if err := act(c.Request.Context(), name); err != nil {
		s.fail(c, err)
		return
	}
	s.answer(c, http.StatusOK, gin.H{"name": name, done: true})
}

func (s *Server) listDeliveries(c *gin.Context) {
	if s.deps.Deliveries == nil {
		s.fail(c, errNotServed)
		return
	}
	q, err := deliveryQuery(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	list, err := s.deps.Deliveries.List(c.Request.Context(), q)
	if err != nil {
		s.fail(c, err)
		return
	}
	next := ""
	if len(list) == q.Limit {
		last := list[len(list)-1]
		next = last.Subscription + "/" + last.ID
	}
	if list == nil {
		list = []Delivery{}
	}
	s.answer(c, http.StatusOK, gin.H{"deliveries": list, "next": next})
}

// shownDelivery is a delivery with its event; its data as JSON if it is JSON.
type shownDelivery struct {
	Delivery
	Event *shownEvent `json:"event,omitempty"`
}

type shownEvent struct {
	Event
	Data  json.RawMessage `json:"data,omitempty"`
	Bytes []byte          `json:"data_base64,omitempty"`
}

func (s *Server) showDelivery(c *gin.Context) {
	if s.deps.Deliveries == nil {
		s.fail(c, errNotServed)
		return
	}
	d, e, err := s.deps.Deliveries.Get(c.Request.Context(), c.Param("subscription"), letterID(c))
	if err != nil {
		s.fail(c, err)
		return
	}
	out := shownDelivery{Delivery: d}
	if e != nil {
		out.Event = &shownEvent{Event: *e}
		if json.Valid(e.Data) {
			out.Event.Data = e.Data
		} else {
			out.Event.Bytes = e.Data
		}
	}
	s.answer(c, http.StatusOK, out)
}

// redeliver serves POST .../deliveries/SUBSCRIPTION/ID/redeliver.
func (s *Server) redeliver(c *gin.Context) {
	id, ok := strings.CutSuffix(letterID(c), "/redeliver")
	if s.deps.Deliveries == nil || !ok {
		s.fail(c, fmt.Errorf("%w: only deliveries/SUBSCRIPTION/ID/redeliver can be posted to", ErrNotFound))
		return
	}
	if err := s.deps.Deliveries.Redeliver(c.Request.Context(), c.Param("subscription"), id); err != nil {
		s.fail(c, err)
		return
	}
	s.answer(c, http.StatusOK, gin.H{"subscription": c.Param("subscription"), "id": id, "redelivered": true})
}

func deliveryQuery(c *gin.Context) (DeliveryQuery, error) {
	q := DeliveryQuery{Limit: 100}
	allowed := []string{"subscription", "state", "after", "limit"}
	states := []string{"ready", "in_flight", "waiting", "behind", "dying", "dead"}
	for key, values := range c.Request.URL.Query() {
		v := values[len(values)-1]
		switch key {
		case "subscription":
			q.Subscription = v
		case "state":
			if q.State = v; v != "" && !slices.Contains(states, v) {
				return q, &query.Error{Path: key, Detail: "must be one of " + strings.Join(states, ", ")}
			}
		case "after":
			q.AfterSubscription, q.AfterID, _ = strings.Cut(v, "/")
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

func unknownParameter(key string, allowed []string) error {
	hint := ""
	if near := query.Nearest(key, allowed); near != "" {
		hint = "did you mean " + near + "? "
	}
	return &query.Error{Path: key, Detail: "unknown parameter; " + hint + "allowed here: " + strings.Join(allowed, ", ")}
}
