package searchapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"github.com/fresnel-search/fresnel/indexer/record"
)

// DeadLetters is what was given up on, to look at, to try again and to forget. An id
// that is not there is ErrNotFound.
type DeadLetters interface {
	// List returns dead letters in the order of their ids, at most q.Limit.
	List(ctx context.Context, q DeadLetterQuery) ([]record.DeadLetter, error)
	Get(ctx context.Context, id string) (record.DeadLetter, error)
	// Replay sends the bytes in again and forgets the letter once they are accepted.
	Replay(ctx context.Context, id string) error
	Drop(ctx context.Context, id string) error
}

// DeadLetterQuery asks for a page of dead letters.
type DeadLetterQuery struct {
	Kind  string // empty is any
	After string // the last id of the page before
	Limit int
}

// Letters keeps dead letters in a record store. Resend brings one's bytes back to
// where they came from; it returns once they are durably there.
type Letters struct {
	Store  record.Store
	Resend func(ctx context.Context, d record.DeadLetter) error
}

// List implements DeadLetters.
func (l Letters) List(ctx context.Context, q DeadLetterQuery) ([]record.DeadLetter, error) {
	after, prefix := q.After, ""
	if q.Kind != "" {
		// Ids begin with their kind and a slash.
		prefix = q.Kind + "/"
		after = max(after, prefix)
	}
	found, err := l.Store.Scan(ctx, record.DeadLetters, after, q.Limit)
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	var out []record.DeadLetter
	for _, r := range found {
		if !strings.HasPrefix(r.Key, prefix) {
			break
		}
		d, err := decodeLetter(r)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// Get implements DeadLetters.
func (l Letters) Get(ctx context.Context, id string) (record.DeadLetter, error) {
	r, err := l.Store.Read(ctx, record.DeadLetters, id)
	if err != nil {
		return record.DeadLetter{}, fmt.Errorf("read dead letter: %w", err)
	}
	if r.Version == 0 {
		return record.DeadLetter{}, fmt.Errorf("dead letter %q: %w", id, ErrNotFound)
	}
	return decodeLetter(r)
}

func decodeLetter(r record.Record) (record.DeadLetter, error) {
	var d record.DeadLetter
	if err := json.Unmarshal(r.Value, &d); err != nil {
		return d, fmt.Errorf("decode dead letter %s: %w", r.Key, err)
	}
	return d, nil
}

// Replay implements DeadLetters. A crash between sending and forgetting leaves the
// letter, and replaying it once more is safe.
func (l Letters) Replay(ctx context.Context, id string) error {
	d, err := l.Get(ctx, id)
	if err != nil {
		return err
	}
	if d.Oversize {
		return fmt.Errorf("%w: dead letter %q was cut when it was kept", ErrConflict, id)
	}
	if err := l.Resend(ctx, d); err != nil {
		return fmt.Errorf("replay dead letter %q: %w", id, err)
	}
	if err := l.Drop(ctx, id); !errors.Is(err, ErrNotFound) { // who took it may have dropped it
		return err
	}
	return nil
}

// Drop implements DeadLetters.
func (l Letters) Drop(ctx context.Context, id string) error {
	if _, err := l.Get(ctx, id); err != nil {
		return err
	}
	saved, err := l.Store.Save(ctx, []record.Record{{Table: record.DeadLetters, Key: id, Version: record.Any}})
	if err != nil {
		return fmt.Errorf("drop dead letter: %w", err)
	}
	return saved[0].Err
}

// summary is a dead letter in a list: its bytes only by their number.
type summary struct {
	record.DeadLetter
	Key     *[]byte            `json:"key,omitempty"`
	Value   *[]byte            `json:"value,omitempty"`
	Headers *map[string][]byte `json:"headers,omitempty"`
	Size    int                `json:"size"`
}

func (s *Server) listDeadLetters(c *gin.Context) {
	if s.deps.DeadLetters == nil {
		s.fail(c, errNotServed)
		return
	}
	q, err := letterQuery(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	list, err := s.deps.DeadLetters.List(c.Request.Context(), q)
	if err != nil {
		s.fail(c, err)
		return
	}
	out, next := make([]summary, len(list)), ""
	for i, d := range list {
		out[i] = summary{DeadLetter: d, Size: len(d.Value)}
	}
	if len(list) == q.Limit {
		next = list[len(list)-1].ID
	}
	s.answer(c, http.StatusOK, gin.H{"dead_letters": out, "next": next})
}

// detailed is a dead letter with its bytes, as text where they are text.
type detailed struct {
	record.DeadLetter
	KeyText string `json:"key_text,omitempty"`
	Text    string `json:"text,omitempty"`
	Size    int    `json:"size"`
}

func (s *Server) showDeadLetter(c *gin.Context) {
	if s.deps.DeadLetters == nil {
		s.fail(c, errNotServed)
		return
	}
	d, err := s.deps.DeadLetters.Get(c.Request.Context(), letterID(c))
	if err != nil {
		s.fail(c, err)
		return
	}
	out := detailed{DeadLetter: d, Size: len(d.Value)}
	if utf8.Valid(d.Value) {
		out.Text = string(d.Value)
	}
	if utf8.Valid(d.Key) {
		out.KeyText = string(d.Key)
	}
	s.answer(c, http.StatusOK, out)
}

// replayDeadLetter serves POST .../deadletters/ID/replay.
func (s *Server) replayDeadLetter(c *gin.Context) {
	id, ok := strings.CutSuffix(letterID(c), "/replay")
	if s.deps.DeadLetters == nil || !ok {
		s.fail(c, fmt.Errorf("%w: only deadletters/ID/replay can be posted to", ErrNotFound))
		return
	}
	if err := s.deps.DeadLetters.Replay(c.Request.Context(), id); err != nil {
		s.fail(c, err)
		return
	}
	s.answer(c, http.StatusOK, gin.H{"id": id, "replayed": true})
}

func (s *Server) dropDeadLetter(c *gin.Context) {
	if s.deps.DeadLetters == nil {
		s.fail(c, errNotServed)
		return
	}
	if err := s.deps.DeadLetters.Drop(c.Request.Context(), letterID(c)); err != nil {
		s.fail(c, err)
		return
	}
	c.Status(http.StatusNoContent)
}
