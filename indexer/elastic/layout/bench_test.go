package layout_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/elastic/layout"
	"github.com/fresnel-search/fresnel/indexer/resource"
)

// typical is a document of about 1.5 KB, as a server's is.
func typical() (*catalog.Type, resource.Document) {
	t := server()
	d := resource.Document{
		Ref: resource.Ref{Type: t.Name, ID: "0c5e0b5d-6d8f-4d4b-9df3-0d1c1a3a0001"}, Lineage: "b3f1c2d4e5", Revision: 3, TenantRevision: 2,
		Owner: "8a1c", Readers: []resource.Principal{"project:8a1c0c5e0b5d6d8f"}, Changed: time.UnixMicro(1_700_000_000_123_456).UTC(),
		Fields: map[string]json.RawMessage{},
	}
	for name, v := range map[string]string{
		"id": `"0c5e0b5d-6d8f-4d4b-9df3-0d1c1a3a0001"`, "name": `"web-frontend-01.example.net"`, "flavor.id": `"m1.small"`, "size": `2048`,
		"load": `0.5`, "locked": `false`, "created_at": `"2026-05-01T12:00:00Z"`, "address": `"10.0.0.17"`,
		"flavor.extra_specs": `{"hw:cpu_policy":"dedicated","hw:mem_page_size":"large"}`, "metadata": `{"app":"shop","tier":"web"}`,
		"networks": `[{"ip":"10.0.0.17","name":"private","version":4},{"ip":"fd00::17","name":"private","version":6}]`,
		"other.a":  `"0c5e0b5d-6d8f-4d4b-9df3"`, "other.b": `"compute-17.example.net"`, "other.c": `"nova"`, "other.d": `17`, "other.e": `{"x":"y"}`,
	} {
		d.Fields[name] = json.RawMessage(v)
	}
	stamp := resource.Stamp{Time: 1_700_000_000_123_456, Version: 7, Message: "0c5e0b5d-6d8f-4d4b-9df3-0d1c1a3a0001"}
	d.State = resource.State{Named: true, Latest: stamp, Shown: stamp, Fields: map[string]resource.Stamp{}}
	for name := range d.Fields {
		d.State.Fields[name] = stamp
	}
	return t, d
}

func BenchmarkEncode(b *testing.B) {
	t, d := typical()
	l := layout.Of(t)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, err = l.Encode(buf[:0], &d, time.Time{}); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkDecode(b *testing.B) {
	t, d := typical()
	buf, err := layout.Of(t).Encode(nil, &d, time.Time{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		if _, err := layout.Decode(buf); err != nil {
			b.Fatal(err)
		}
	}
}
