package changelog_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/changelog"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/plugins/change"
)

func exampleEntry() *changelog.Entry {
	at := time.Date(2026, 3, 14, 15, 9, 26, 535897000, time.UTC)
	return &changelog.Entry{
		ID:  changelog.ChangeID("0d9c1f7be6a24a52", 5),
		Ref: resource.Ref{Type: "OS::Nova::Server", ID: "c03c0bf9-f46e-4e4f-93f1-817568567ee2"}, Action: change.Updated,
		Lineage: "0d9c1f7be6a24a52", Revision: 5, TenantRevision: 4, TenantVisible: true, Time: at,
		Changed: []string{"OS-EXT-SRV-ATTR:host", "status"},
		Before:  map[string]json.RawMessage{"status": raw(`"BUILD"`)},
		Fields: map[string]json.RawMessage{
			"id": raw(`"c03c0bf9-f46e-4e4f-93f1-817568567ee2"`), "name": raw(`"web-1"`), "status": raw(`"ACTIVE"`),
			"flavor.id": raw(`"42"`), "flavor.name": raw(`"m1.small"`), "tenant_id": raw(`"6f70656e737461636b20342065766572"`),
			"OS-EXT-SRV-ATTR:host": raw(`"compute-7"`),
		},
		Owner:         "6f70656e737461636b20342065766572",
		Readers:       []resource.Principal{"project:6f70656e737461636b20342065766572"},
		ReadersBefore: []resource.Principal{"project:6f70656e737461636b20342065766572"},
		Cause: change.Cause{
			Kind: change.ByNotification, EventType: "instance.create.end", Priority: "INFO", PublisherID: "nova-compute:compute-7",
			Timestamp: at, MessageID: "5c3c2ba1-94d3-4b39-b0a5-1f0a2c2a7a55", RequestID: "req-5b6c791d-5709-4f36-8fbe-c3e02869e35d",
			InitiatorUser: "fake", InitiatorProject: "6f70656e737461636b20342065766572",
		},
	}
}

// The same transition, as a tenant sees it: no host, no name of one in the cause,
// and a revision of the tenants' own count.
func ExampleProject() {
	servers := &catalog.Type{Name: "OS::Nova::Server", AdminOnly: []string{"OS-EXT-SRV-ATTR:*"}}
	tenant := changelog.Audience{Principals: []resource.Principal{"project:6f70656e737461636b20342065766572"}}
	c, visible := changelog.Project(exampleEntry(), tenant, servers, func(r resource.Ref) string {
		return "/v1/resources/" + r.Type + "/" + r.ID
	})
	b, err := json.Marshal(c)
	if err != nil {
		fmt.Println(err)
		return
	}
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(visible)
	fmt.Println(out.String())
	// Output:
	// true
	// {
	//   "id": "f3675e445743c8c07a1cdb10c5f55116",
	//   "action": "updated",
	//   "resource": {
	//     "type": "OS::Nova::Server",
	//     "id": "c03c0bf9-f46e-4e4f-93f1-817568567ee2",
	//     "href": "/v1/resources/OS::Nova::Server/c03c0bf9-f46e-4e4f-93f1-817568567ee2"
	//   },
	//   "revision": 4,
	//   "lineage": "0d9c1f7be6a24a52",
	//   "time": "2026-03-14T15:09:26.535897Z",
	//   "project": "6f70656e737461636b20342065766572",
	//   "changed": [
	//     "status"
	//   ],
	//   "before": {
	//     "status": "BUILD"
	//   },
	//   "document": {
	//     "flavor": {
	//       "id": "42",
	//       "name": "m1.small"
	//     },
	//     "id": "c03c0bf9-f46e-4e4f-93f1-817568567ee2",
	//     "name": "web-1",
	//     "status": "ACTIVE",
	//     "tenant_id": "6f70656e737461636b20342065766572"
	//   },
	//   "cause": {
	//     "kind": "notification",
	//     "event_type": "instance.create.end",
	//     "priority": "INFO",
	//     "timestamp": "2026-03-14T15:09:26.535897Z",
	//     "message_id": "5c3c2ba1-94d3-4b39-b0a5-1f0a2c2a7a55",
	//     "request_id": "req-5b6c791d-5709-4f36-8fbe-c3e02869e35d",
	//     "initiator_user": "fake",
	//     "initiator_project": "6f70656e737461636b20342065766572"
	//   }
	// }
}
