package fold_test

import (
	"fmt"
	"testing"

	"github.com/fresnel-search/fresnel/indexer/fold"
	"github.com/fresnel-search/fresnel/indexer/resource"
)

// wide is a full mutation of 40 fields, of which one differs from the one before.
func wide(i int64) *resource.Mutation {
	m := say(resource.Full, i, "owner", `"p1"`, "net", `"1"`, "name", fmt.Sprintf(`"server %d"`, i))
	for f := range 37 {
		m.Fields[fmt.Sprintf("field_%02d", f)] = raw(fmt.Sprintf(`"the value of field %d, as it stays"`, f))
	}
	return m
}

func BenchmarkApply(b *testing.B) {
	r := rules(false)
	b.Run("create", func(b *testing.B) {
		m := wide(1)
		b.ReportAllocs()
		for b.Loop() {
			fold.Apply(r, &resource.Document{Ref: self}, m, at(1))
		}
	})
	b.Run("update", func(b *testing.B) {
		d := foldAll(r, []*resource.Mutation{wide(1)})
		log := make([]*resource.Mutation, 1000)
		b.ReportAllocs()
		for i := int64(0); b.Loop(); i++ {
			if i%1000 == 0 {
				b.StopTimer()
				for j := range log {
					log[j] = wide(i + int64(j) + 2)
				}
				b.StartTimer()
			}
			fold.Evict(d, "log", i)
			if o := fold.Apply(r, d, log[i%1000], at(int(i))); o != fold.Applied {
				b.Fatal(o)
			}
		}
	})
	b.Run("stale", func(b *testing.B) {
		m := wide(1)
		d := foldAll(r, []*resource.Mutation{wide(2)})
		b.ReportAllocs()
		for b.Loop() {
			fold.Apply(r, d, m, at(1))
		}
	})
}

func BenchmarkStateCodec(b *testing.B) {
	d := foldAll(rules(false), []*resource.Mutation{wide(1)})
	enc := resource.EncodeState(&d.State)
	b.Run(fmt.Sprintf("encode %d bytes", len(enc)), func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			resource.EncodeState(&d.State)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := resource.DecodeState(enc, d.Fields); err != nil {
				b.Fatal(err)
			}
		}
	})
}
