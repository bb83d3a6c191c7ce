package indexer

import (
	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/fresnel-search/fresnel/indexer/resource"
)

// cache keeps the documents that one partition wrote last. The partition's handler
// is their only writer as a rule; where it is not, a conditional write finds out.
// A document is taken out while it is folded, so that one whose write failed is
// never found here again.
type cache struct {
	docs  *simplelru.LRU[resource.Ref, cached]
	bytes int
	limit int
}

type cached struct {
	doc   *resource.Document
	bytes int
}

func newCache(documents, bytes int) *cache {
	c := &cache{limit: bytes}
	docs, err := simplelru.NewLRU(documents, func(_ resource.Ref, e cached) { c.bytes -= e.bytes })
	if err != nil {
		panic(err) // documents is checked to be above zero
	}
	c.docs = docs
	return c
}

// take returns the document and forgets it; nil if it is not here.
func (c *cache) take(ref resource.Ref) *resource.Document {
	e, ok := c.docs.Peek(ref)
	if !ok {
		return nil
	}
	c.docs.Remove(ref)
	return e.doc
}

// peek returns the document and keeps it; it must not be changed.
func (c *cache) peek(ref resource.Ref) *resource.Document {
	e, _ := c.docs.Get(ref)
	return e.doc
}

// put keeps a document that is stored as it stands.
func (c *cache) put(d *resource.Document) {
	c.docs.Remove(d.Ref)
	// State holds a stamp for each field and set element, maps have their own cost.
	e := cached{d, 2*d.Size() + d.OutboxSize() + 64*len(d.State.Fields) + 1024}
	c.docs.Add(d.Ref, e)
	for c.bytes += e.bytes; c.bytes > c.limit; {
		c.docs.RemoveOldest()
	}
}
