package indexer_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/changelog"
	"github.com/fresnel-search/fresnel/listener/notification"
)

// object is a payload or a part of one.
type object = map[string]any

// heard is one notification of a story: when it was sent, in seconds, and what it
// said. Stories are told in the order of arrival.
type heard struct {
	at       int
	event    string
	priority string // INFO if empty
	payload  object
}

// stories are what real services did that a naive fold gets wrong
// (the traps of the recorded day), each with the whole change log that it must leave.
var stories = map[string]struct {
	heard []heard
	// want are the changes by resource, in order: action, kind of cause, and the
	// fields asked for by show.
	want map[string][]string
	show []string
}{
	"the end of an update is heard before the end of the create": {
		heard: []heard{
			{at: 1, event: "volume.create.start", payload: object{"volume_id": "v", "tenant_id": "p", "status": "creating", "display_name": "old"}},
			{at: 3, event: "volume.update.end", payload: object{"volume_id": "v", "tenant_id": "p", "status": "available", "display_name": "new"}},
			{at: 2, event: "volume.create.end", payload: object{"volume_id": "v", "tenant_id": "p", "status": "creating", "display_name": "old"}},
		},
		show: []string{"name", "status"},
		want: map[string][]string{"OS::Cinder::Volume/v": {
			`created notification "old" "creating"`, `updated notification "new" "available"`,
		}},
	},
	"a member is added after the image is gone": {
		heard: []heard{
			{at: 1, event: "image.create", payload: object{"id": "i", "owner": "p", "visibility": "shared", "name": "one"}},
			{at: 2, event: "image.delete", payload: object{"id": "i", "owner": "p", "visibility": "shared", "name": "one"}},
			{at: 3, event: "image.member.create", payload: object{"image_id": "i", "member_id": "q", "status": "accepted"}},
			{at: 4, event: "image.member.create", payload: object{"image_id": "never seen", "member_id": "q", "status": "accepted"}},
		},
		want: map[string][]string{"OS::Glance::Image/i": {"created notification", "deleted notification"}},
	},
	"a bulk create lists what it made": {
		heard: []heard{
			{at: 1, event: "network.create.end", payload: object{"networks": []any{object{"id": "n1", "tenant_id": "p", "name": "a"}, object{"id": "n2", "tenant_id": "p", "name": "b"}}}},
			{at: 2, event: "subnet.create.end", payload: object{"subnets": []any{object{"id": "s1", "network_id": "n1", "name": "a"}, object{"id": "s2", "network_id": "n2", "name": "b"}}}},
			{at: 3, event: "port.create.end", payload: object{"ports": []any{object{"id": "p1", "network_id": "n1", "name": "a"}, object{"id": "p2", "network_id": "n2", "name": "b"}}}},
		},
		show: []string{"name"},
		want: map[string][]string{
			"OS::Neutron::Net/n1": {`created notification "a"`}, "OS::Neutron::Net/n2": {`created notification "b"`},
			"OS::Neutron::Subnet/s1": {`created notification "a"`, `updated cascade "a"`}, "OS::Neutron::Subnet/s2": {`created notification "b"`, `updated cascade "b"`},
			"OS::Neutron::Port/p1": {`created notification "a"`, `updated cascade "a"`}, "OS::Neutron::Port/p2": {`created notification "b"`, `updated cascade "b"`},
		},
	},
	"a network takes along what is on it, and what is heard of later": {
		heard: []heard{
			{at: 1, event: "network.create.end", payload: object{"network": object{"id": "n", "tenant_id": "p"}}},
			{at: 2, event: "subnet.create.end", payload: object{"subnet": object{"id": "s", "tenant_id": "p", "network_id": "n"}}},
			{at: 5, event: "network.delete.end", payload: object{"network_id": "n"}},
			{at: 6, event: "subnet.update.end", payload: object{"subnet": object{"id": "s", "tenant_id": "p", "network_id": "n", "name": "late"}}},
			{at: 3, event: "subnet.create.end", payload: object{"subnet": object{"id": "late", "tenant_id": "p", "network_id": "n"}}},
		},
		want: map[string][]string{
			"OS::Neutron::Net/n":       {"created notification", "deleted notification"},
			"OS::Neutron::Subnet/s":    {"created notification", "deleted cascade"},
			"OS::Neutron::Subnet/late": {"created notification", "deleted cascade"},
		},
	},
	"the periodic task speaks of a server minutes after it is gone": {
		heard: []heard{
			{at: 1, event: "instance.create.end", payload: object{"uuid": "s", "tenant_id": "p", "state": "active"}},
			{at: 1, event: "compute.instance.create.end", payload: object{"instance_id": "s", "tenant_id": "p", "state": "active"}},
			{at: 9, event: "instance.delete.end", payload: object{"uuid": "s", "tenant_id": "p", "state": "deleted"}},
			{at: 9, event: "compute.instance.delete.end", payload: object{"instance_id": "s", "tenant_id": "p", "state": "deleted"}},
			{at: 240, event: "instance.update", payload: object{"uuid": "s", "tenant_id": "p", "state": "deleted"}},
			{at: 241, event: "compute.instance.update", payload: object{"instance_id": "s", "tenant_id": "p", "state": "active"}},
		},
		want: map[string][]string{"OS::Nova::Server/s": {"created notification", "deleted notification"}},
	},
	"a zone is updated to a higher version after its delete": {
		heard: []heard{
			{at: 1, event: "dns.zone.create", payload: object{"id": "z", "tenant_id": "p", "version": 1, "status": "ACTIVE"}},
			{at: 2, event: "dns.zone.delete", payload: object{"id": "z", "tenant_id": "p", "version": 3, "status": "ACTIVE"}},
			{at: 4, event: "dns.zone.update", payload: object{"id": "z", "tenant_id": "p", "version": 9, "status": "PENDING", "action": "DELETE"}},
		},
		want: map[string][]string{"OS::Designate::Zone/z": {"created notification", "deleted notification"}},
	},
	"a refused delete is announced as an error": {
		heard: []heard{
			{at: 1, event: "volume_type.create", payload: object{"volume_types": object{"id": "t", "name": "fast", "is_public": true}}},
			{at: 2, event: "volume_type.delete", priority: "ERROR", payload: object{"id": "t", "error_message": "in use"}},
		},
		show: []string{"name"},
		want: map[string][]string{"OS::Cinder::VolumeType/t": {`created notification "fast"`}},
	},
	"a member's payload lacks what only admins are shown": {
		heard: []heard{
			{at: 1, event: "network.create.end", payload: object{"network": object{"id": "n", "tenant_id": "p", "name": "a", "provider:network_type": "vxlan"}}},
			{at: 2, event: "network.update.end", payload: object{"network": object{"id": "n", "tenant_id": "p", "name": "b"}}},
			{at: 3, event: "port.create.end", payload: object{"port": object{"id": "q", "tenant_id": "p", "name": "a", "binding:host_id": "h"}}},
			{at: 4, event: "port.update.end", payload: object{"port": object{"id": "q", "tenant_id": "p", "name": "b"}}},
		},
		show: []string{"name", "provider:network_type", "binding:host_id"},
		want: map[string][]string{
			"OS::Neutron::Net/n":  {`created notification "a" "vxlan" -`, `updated notification "b" "vxlan" -`},
			"OS::Neutron::Port/q": {`created notification "a" - "h"`, `updated notification "b" - "h"`},
		},
	},
}

// TestStoriesOfRealServicesComeOutRight tells each story in the order of arrival to
// the built-in catalogue and the whole indexer.
func TestStoriesOfRealServicesComeOutRight(t *testing.T) {
	c, err := catalog.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for name, story := range stories {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c, 2)
			for i, h := range story.heard {
				m := c.Mutations(sent(h, i))
				w.tell(m.Mutations...)
				w.run(rand.New(rand.NewPCG(1, 1)), 100) // each in its turn
			}
			check(t, w)
			got := map[string][]string{}
			seen := map[string]bool{}
			for _, rec := range w.changes {
				e, err := changelog.Decode(rec.Value)
				if err != nil {
					t.Fatal(err)
				}
				if seen[e.ID] {
					continue
				}
				seen[e.ID] = true
				line := []string{string(e.Action), string(e.Cause.Kind)}
				for _, f := range story.show {
					value := "-"
					if v := e.Fields[f]; v != nil {
						value = string(v)
					}
					line = append(line, value)
				}
				got[e.Ref.String()] = append(got[e.Ref.String()], strings.Join(line, " "))
			}
			if d := cmp.Diff(story.want, got); d != "" {
				t.Errorf("changes (-want +got):\n%s", d)
			}
		})
	}
}

// sent is the notification as its service sent it.
func sent(h heard, i int) *notification.Notification {
	priority := h.priority
	if priority == "" {
		priority = "INFO"
	}
	return &notification.Notification{
		EventType: h.event, Priority: priority, MessageID: fmt.Sprint("message-", i), PublisherID: "service.host",
		Timestamp: time.Unix(int64(h.at), 0), Payload: h.payload, Context: notification.Context{ProjectID: "p"},
	}
}
