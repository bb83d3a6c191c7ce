package elastic

import (
	"testing"

	"github.com/fresnel-search/fresnel/indexer/elastic/layout"
	"github.com/fresnel-search/fresnel/indexer/resource/wire"
)

func FuzzDecodeBulk(f *testing.F) {
	f.Add([]byte(`{"items":[{"create":{"status":201,"_seq_no":1,"_primary_term":1}},{"index":{"status":409,"error":{"type":"t","reason":null}}}]}`))
	f.Add([]byte(`{"errors":true,"took":3,"items":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		answers, err := decodeBulk(b)
		if err != nil {
			return
		}
		for i := range answers {
			if r := answers[i].result(1); r.outcome == done && r.version <= 0 {
				t.Errorf("an item is done at version %d", r.version)
			}
		}
	})
}

func FuzzDecodeGet(f *testing.F) {
	f.Add([]byte(`{"docs":[{"_index":"i","_id":"a","found":true,"_seq_no":1,"_primary_term":1,"_source":{"id":"a","system":{"state":""}}}]}`))
	f.Add([]byte(`{"docs":[{"_index":"i","_id":"a","error":{"type":"index_not_found_exception"}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		w := wanted{id: "a", ix: &index{generation: 1}}
		err := decodeGet(b, func(r *wire.Reader) {
			r.Fail(w.read(r, func() error {
				_, err := layout.Read(r)
				return err
			}))
		})
		if err == nil && w.version < 0 {
			t.Errorf("version %d", w.version)
		}
	})
}

func FuzzDecodeFound(f *testing.F) {
	f.Add([]byte(`{"timed_out":false,"_shards":{"failed":0},"hits":{"hits":[{"_id":"a","_seq_no":1,"_primary_term":2,"_source":{}}]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		found, err := decodeFound(b, &index{generation: 1})
		if err == nil {
			for _, h := range found {
				if h.version < 0 {
					t.Errorf("version %d", h.version)
				}
			}
		}
	})
}

func TestAVersionNamesOneWriteOnly(t *testing.T) {
	t.Parallel()
	seen := map[int64]place{}
	for _, p := range []place{{1, 1, 0}, {2, 1, 0}, {1, 2, 0}, {1, 1, 1}, {1<<14 - 1, 1<<14 - 1, 1<<35 - 1}} {
		v, err := p.version()
		if err != nil || v <= 0 || placeOf(v) != p {
			t.Errorf("%v = %d, %v, and back %v", p, v, err, placeOf(v))
		}
		if other, ok := seen[v]; ok {
			t.Errorf("%v and %v are both %d", p, other, v)
		}
		seen[v] = p
	}
	for _, p := range []place{{1, 0, 0}, {1, 1, -1}, {1, 1 << 14, 0}, {1, 1, 1 << 35}} {
		if v, err := p.version(); err == nil {
			t.Errorf("%v = %d, want an error", p, v)
		}
	}
}

func TestARecordsIDIsShortAndItsOwn(t *testing.T) {
	t.Parallel()
	long := make([]byte, 600)
	for i := range long {
		long[i] = 'x'
	}
	seen := map[string]bool{}
	for _, key := range []string{"a", "b", string(long), string(long[1:]), string(long[:MaxID-2]), string(long[:MaxID-1])} {
		for _, table := range []string{"t", "tt"} {
			id := recordID(table, key)
			if seen[id] || len(id) > MaxID {
				t.Errorf("the id of %d bytes of key is %q: twice, or too long", len(key), id)
			}
			seen[id] = true
		}
	}
}

func TestIndexNamesAreReadBack(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	for _, s := range []string{slug("OS::Nova::Server"), recordsSlug} {
		name := cfg.indexName(s, 12)
		if got, n, ok := cfg.parseIndex(name); got != s || n != 12 || !ok {
			t.Errorf("parseIndex(%q) = %q, %d, %t", name, got, n, ok)
		}
	}
	for _, name := range []string{"fresnel-x", "other-os-nova-server-000001", "fresnel-os-nova-server-000000", "fresnel-os-nova-server-0000001", "fresnel--000001"} {
		if s, n, ok := cfg.parseIndex(name); ok {
			t.Errorf("parseIndex(%q) = %q, %d", name, s, n)
		}
	}
}
