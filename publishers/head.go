package publishers

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"

	"github.com/fresnel-search/fresnel/listener/stream"
)

// lookback is how far before its starting point a reader looks, to recognise what
// the indexer put into the log twice.
const lookback = 500

// head reads one partition at the end of the change log and hands each change to all
// subscriptions that keep up. One that has no room is let go: it reads for itself
// until it is back here, so that it never holds up the others.
type head struct {
	partition stream.Partition
	read      *reading
	log       *slog.Logger
	behind    func(*subscription, stream.Partition) // starts a reader of its own

	primed chan struct{} // closed when the reader has looked back

	mu      sync.Mutex
	next    int64  // the offset after the last change handed round
	lastID  string // that change's id, as far as it is known
	members []*subscription
	recent  *recent
}

// run reads until ctx is done.
func (h *head) run(ctx context.Context) {
	for wait := retryMin; ctx.Err() == nil; {
		from := h.next
		err := h.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if h.next > from {
			wait = retryMin
		}
		h.log.Warn("change log not read", "err", err, "partition", h.partition.ID, "offset", h.next, "wait", wait)
		pause(ctx, wait)
		wait = min(2*wait, retryMax)
	}
}

// follow reads on from where the head is. At first it looks back.
func (h *head) follow(ctx context.Context) error {
	from := h.next
	if !h.isPrimed() {
		first, _, err := h.read.log.Bounds(ctx, h.partition)
		if err != nil {
			return err
		}
		if from = max(first, h.next-lookback); from >= h.next {
			close(h.primed)
		}
	}
	err := h.read.log.Read(ctx, h.partition, from, func(b stream.Batch) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		for i := range b.Records {
			h.handle(h.read.decode(ctx, &b.Records[i]))
		}
		return nil
	})
	if errors.Is(err, stream.ErrOffset) {
		return errors.Join(err, h.lost(ctx))
	}
	return err
}

func (h *head) isPrimed() bool {
	select {
	case <-h.primed:
		return true
	default:
		return false
	}
}

// handle hands one change round. mu is held.
func (h *head) handle(l *logged) {
	if l.entry != nil {
		if l.repeat = h.recent.repeats(l.entry); !l.repeat {
			h.recent.add(l.entry)
		}
	}
	if l.offset >= h.next {
		if l.offset > h.next {
			h.dismiss() // each accounts for what it has lost
		}
		h.members = slices.DeleteFunc(h.members, func(s *subscription) bool {
			if s.offer(l) {
				return false
			}
			h.behind(s, h.partition)
			return true
		})
		h.next = l.offset + 1
	}
	h.lastID = l.id
	if l.offset+1 >= h.next && !h.isPrimed() {
		close(h.primed)
	}
}

// lost moves to the end of a log that has been cut off before the head, or replaced.
func (h *head) lost(ctx context.Context) error {
	first, end, err := h.read.log.Bounds(ctx, h.partition)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.next >= first && h.next <= end {
		return nil
	}
	h.dismiss()
	h.next, h.lastID, h.recent = end, "", newRecent()
	return nil
}

// dismiss lets all members read for themselves. mu is held.
func (h *head) dismiss() {
	for _, s := range h.members {
		h.behind(s, h.partition)
	}
	h.members = nil
}

// join takes a subscription in that has come up to the head, and answers whether it
// has. One that has not looked yet and does not stand where the head stands, behind
// the same change, must look for itself whether this is its log.
func (h *head) join(s *subscription, looked bool) bool {
	if !h.isPrimed() {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	next, id := s.next(h.partition.ID)
	same := next == h.next && (id == "" || h.lastID == "" || id == h.lastID)
	if next < h.next || !looked && !same {
		return false
	}
	h.members = append(h.members, s)
	return true
}

// enter takes in a live subscription, wherever it stands: it begins here.
func (h *head) enter(s *subscription) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.mu.Lock()
	s.machine.Jump(h.partition.ID, h.next)
	s.mu.Unlock()
	h.members = append(h.members, s)
}

// at is the offset that the head reads next.
func (h *head) at() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.next
}
