package catalog_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/listener/notification"
	"github.com/fresnel-search/fresnel/listener/stream"
)

// TestNoSecretReachesAMutation greps every mutation of every recording for the
// tokens and keys that are in the recordings.
func TestNoSecretReachesAMutation(t *testing.T) {
	t.Parallel()
	secret := regexp.MustCompile(`gAAAA[A-Za-z0-9_-]+|"key": *"([^"]+)"|\\"(auth_password|chap[a-z_]*)\\": *\\"([^"\\]+)\\"`)
	c := builtin(t)
	var all bytes.Buffer
	for _, n := range everything(t) {
		res := c.Mutations(n)
		for i := range res.Mutations {
			all.Write(resource.EncodeMutation(&res.Mutations[i]))
			all.WriteByte('\n')
		}
	}
	text := all.String()
	found := map[string]bool{}
	for _, n := range everything(t) {
		raw, err := json.Marshal(n.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc([]string{"gAAAA", `"key":`, "auth_password", "chap"}, func(s string) bool { return bytes.Contains(raw, []byte(s)) }) {
			continue // a look is much cheaper than the expression
		}
		for _, m := range secret.FindAllStringSubmatch(string(raw), -1) {
			// Of members named "key" only those of DNS transfers and signatures are secrets.
			if m[1] != "" && !strings.HasPrefix(n.EventType, "dns.") {
				continue
			}
			found[strings.Trim(m[0][strings.LastIndexByte(m[0], ' ')+1:], `"`)] = true
			if m[1] != "" {
				delete(found, m[0])
				found[m[1]] = true
			}
		}
	}
	if len(found) < 10 {
		t.Fatalf("only %d secrets found in the recordings", len(found))
	}
	for s := range found {
		if len(s) > 4 && strings.Contains(text, s) {
			t.Errorf("%q is in a mutation", s)
		}
	}
	for _, word := range []string{"auth_token", "connection_info", "initiator\\\":", "traceback", "service_catalog"} {
		if strings.Contains(text, word) {
			t.Errorf("%s is in a mutation", word)
		}
	}
	t.Logf("%d secrets, %d bytes of mutations", len(found), len(text))
}

// TestSecretsAreKeptNowhere puts secrets where a payload could hold some.
func TestSecretsAreKeptNowhere(t *testing.T) {
	t.Parallel()
	c := builtin(t)
	n := &notification.Notification{
		EventType: "instance.update", Priority: "INFO", MessageID: "m", Timestamp: time.Unix(1, 0),
		Payload: map[string]any{
			"uuid": "u", "display_name": "gAAAAABverysecretverysecret", "admin_pass": "x", "password": "x", "adminToken": "x",
			"free": "Bearer abcdef", "url": "http://user:pass@host/", "key": "x", "plain": "y",
			"pem":      "-----BEGIN RSA PRIVATE KEY-----",
			"metadata": map[string]any{"db_password": "x", "a": map[string]any{"token": "x", "b": "gAAAAABverysecretverysecret"}, "k": "v"},
		},
	}
	m := only(t, c, n)
	want := map[string]string{"id": `"u"`, "metadata": `{"a":{},"k":"v"}`, "other.plain": `"y"`}
	got := map[string]string{}
	for k, v := range m.Fields {
		if string(v) != `null` && k != "status" {
			got[k] = string(v)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
}

func only(t *testing.T, c *catalog.Catalog, n *notification.Notification) resource.Mutation {
	t.Helper()
	res := c.Mutations(n)
	if res.Err != nil || len(res.Mutations) != 1 {
		t.Fatalf("%s: %d mutations, ignored %q, error %v", n.EventType, len(res.Mutations), res.Ignored, res.Err)
	}
	return res.Mutations[0]
}

// servers are the shown servers after some of Nova's notifications, and for each
// field the values that it went through.
func servers(t *testing.T, keep func(event string) bool) (final map[string]map[string]string, path map[string][]string) {
	t.Helper()
	c := builtin(t)
	var ns []*notification.Notification
	for _, n := range recorded(t, "day/*.jsonl.gz") {
		if keep(n.EventType) {
			ns = append(ns, n)
		}
	}
	slices.SortStableFunc(ns, func(a, b *notification.Notification) int { return a.Timestamp.Compare(b.Timestamp) })
	final, path = map[string]map[string]string{}, map[string][]string{}
	for _, n := range ns {
		for _, m := range c.Mutations(n).Mutations {
			if m.Ref.Type != "OS::Nova::Server" || m.Kind == resource.Delete {
				continue
			}
			if final[m.Ref.ID] == nil {
				final[m.Ref.ID] = map[string]string{}
			}
			for name, v := range m.Fields {
				final[m.Ref.ID][name] = string(v)
				key := m.Ref.ID + " " + name
				if p := path[key]; len(p) == 0 || p[len(p)-1] != string(v) {
					path[key] = append(p, string(v))
				}
			}
		}
	}
	return final, path
}

// TestBothNovaFormatsAgree holds legacy only, versioned only and both against each
// other: the same common fields, and with both no field goes through values that it
// does not go through with one.
func TestBothNovaFormatsAgree(t *testing.T) {
	t.Parallel()
	legacy := func(e string) bool { return strings.HasPrefix(e, "compute.instance.") }
	versioned := func(e string) bool { return strings.HasPrefix(e, "instance.") }
	l, lPath := servers(t, legacy)
	v, vPath := servers(t, versioned)
	b, bPath := servers(t, func(e string) bool { return legacy(e) || versioned(e) })
	compared := 0
	for id, fields := range l {
		for name, value := range fields {
			if _, common := v[id][name]; !common {
				t.Errorf("%s: only the legacy format has %s", id, name)
				continue
			}
			compared++
			if name == "networks" { // the legacy format shows addresses in some events only
				value = v[id][name]
			}
			if v[id][name] != value || b[id][name] != value {
				t.Errorf("%s %s: legacy %s, versioned %s, both %s", id, name, value, v[id][name], b[id][name])
			}
		}
	}
	for key, p := range bPath {
		if len(p) > max(len(vPath[key]), len(lPath[key])) {
			t.Errorf("%s flaps: %v with both, %v versioned, %v legacy", key, p, vPath[key], lPath[key])
		}
	}
	t.Logf("%d servers, %d common fields", len(b), compared)
}

// TestMutationsAreTheSameBytes decodes and maps everything twice.
func TestMutationsAreTheSameBytes(t *testing.T) {
	t.Parallel()
	c, d := builtin(t), builtin(t)
	for _, n := range recorded(t, "notifications/*.jsonl.gz") {
		a, b := c.Mutations(n), d.Mutations(n)
		for i := range a.Mutations {
			if x, y := resource.EncodeMutation(&a.Mutations[i]), resource.EncodeMutation(&b.Mutations[i]); !bytes.Equal(x, y) {
				t.Fatalf("%s: %s and then %s", n.EventType, x, y)
			}
		}
	}
}

// network is what neutron says of one network, caused by a project.
func network(event, actor string, fields map[string]any) *notification.Notification {
	net := map[string]any{"id": "n", "project_id": "owner"}
	maps.Copy(net, fields)
	return &notification.Notification{
		EventType: event, Priority: "INFO", MessageID: event + actor, Timestamp: time.Unix(1, 0),
		Payload: map[string]any{"network": net}, Context: notification.Context{ProjectID: actor},
	}
}

// TestSharedIsBelievedOnlyOfWhoKnows holds the fields that Neutron computes for the
// asker: they must never open a network to everyone by mistake.
func TestSharedIsBelievedOnlyOfWhoKnows(t *testing.T) {
	t.Parallel()
	c := builtin(t)
	const shared, external = "implied/access_as_shared", "implied/access_as_external"
	tests := map[string]struct {
		n        *notification.Notification
		shared   string // "put", "drop" or nothing
		external string
	}{
		"a create":             {network("network.create.end", "admin", map[string]any{"shared": true, "router:external": true}), "put", "put"},
		"the owner's update":   {network("network.update.end", "owner", map[string]any{"shared": true, "router:external": true}), "put", ""},
		"another's update":     {network("network.update.end", "admin", map[string]any{"shared": true, "router:external": true}), "", ""},
		"an update to private": {network("network.update.end", "admin", map[string]any{"shared": false, "router:external": false}), "drop", "drop"},
		"silence":              {network("network.update.end", "owner", nil), "", ""},
	}
	for name, tt := range tests {
		m := only(t, c, tt.n)
		for key, want := range map[string]string{shared: tt.shared, external: tt.external} {
			got := ""
			if e, ok := m.Elements["rbac_policy"][key]; ok {
				if got = "put"; resource.IsNull(e) {
					got = "drop"
				}
			}
			if got != want {
				t.Errorf("%s: %s %q, want %q", name, key, got, want)
			}
		}
	}
	if m := only(t, c, network("network.update.end", "admin", map[string]any{"shared": true})); m.Fields["shared"] != nil {
		t.Errorf("shared = %s by another project's word", m.Fields["shared"])
	}
}

func TestPoisonNamesItsReason(t *testing.T) {
	t.Parallel()
	c := builtin(t)
	for name, tt := range map[string]struct {
		event   string
		payload any
		reason  string
	}{
		"no id":           {"image.update", map[string]any{"name": "x"}, notification.MissingResource},
		"null id":         {"image.update", map[string]any{"id": nil}, notification.MissingResource},
		"id an object":    {"image.update", map[string]any{"id": map[string]any{}}, notification.MissingResource},
		"long id":         {"image.update", map[string]any{"id": strings.Repeat("x", 600)}, notification.BadResource},
		"control in id":   {"image.update", map[string]any{"id": "a\nb"}, notification.BadResource},
		"no payload":      {"image.update", nil, notification.BadPayload},
		"payload a text":  {"image.update", "x", notification.BadPayload},
		"no network":      {"network.create.end", map[string]any{"x": 1}, notification.BadPayload},
		"list of texts":   {"port.create.end", map[string]any{"ports": []any{"x"}}, notification.BadPayload},
		"no member":       {"image.member.create", map[string]any{"image_id": "i"}, notification.MissingResource},
		"tags not a list": {"tag.create.end", map[string]any{"parent_resource": "networks", "parent_resource_id": "n", "tags": 1}, notification.BadPayload},
	} {
		res := c.Mutations(&notification.Notification{EventType: tt.event, Priority: "INFO", Payload: tt.payload})
		poison, ok := errors.AsType[*notification.Error](res.Err)
		if !ok || poison.Reason != tt.reason || len(res.Mutations) > 0 || res.Ignored != "" {
			t.Errorf("%s: %+v, want poison %s", name, res, tt.reason)
		}
	}
}

func TestUnfitValuesAreLeftUnsaid(t *testing.T) {
	t.Parallel()
	m := only(t, builtin(t), &notification.Notification{
		EventType: "image.update", Priority: "INFO", Timestamp: time.Unix(1, 0),
		Payload: map[string]any{
			"id": "i", "size": "many", "min_ram": "512", "protected": "maybe", "created_at": "yesterday", "name": map[string]any{"a": "b"},
			"tags": []any{map[string]any{}}, "status": json.Number("5"), "min_disk": json.Number("1.0"), "updated_at": "",
		},
	})
	got := map[string]string{}
	for _, name := range []string{"size", "min_ram", "protected", "created_at", "name", "tags", "status", "min_disk", "updated_at"} {
		got[name] = string(m.Fields[name])
	}
	want := map[string]string{
		"size": "", "min_ram": "512", "protected": "", "created_at": "", "name": "", "tags": "", "status": `"5"`, "min_disk": "1", "updated_at": "null",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

// TestABulkOfRulesIsOneMutationPerGroup merges the elements of one resource.
func TestABulkOfRulesIsOneMutationPerGroup(t *testing.T) {
	t.Parallel()
	rule := func(id, group string) any {
		return map[string]any{"id": id, "security_group_id": group, "direction": "egress"}
	}
	res := builtin(t).Mutations(&notification.Notification{
		EventType: "security_group_rule.create.end", Priority: "INFO", Timestamp: time.Unix(1, 0),
		Payload: map[string]any{"security_group_rules": []any{rule("a", "g"), rule("b", "g"), rule("c", "h")}},
	})
	if len(res.Mutations) != 2 || len(res.Mutations[0].Elements["security_group_rules"]) != 2 {
		t.Errorf("mutations %+v, want one for each of two groups", res.Mutations)
	}
}

func BenchmarkMutations(b *testing.B) {
	c := builtin(b)
	ns := everything(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c.Mutations(ns[i%len(ns)])
	}
}

// FuzzMutations gives any payload to any event type: never a panic, and always a
// result of exactly one kind.
func FuzzMutations(f *testing.F) {
	c := builtin(f)
	for i, n := range recorded(f, "notifications/*.jsonl.gz") {
		if i%10 == 0 {
			f.Add(n.EventType, string(resource.EncodeMutation(&resource.Mutation{})), true)
			raw, err := json.Marshal(n.Payload)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(n.EventType, string(raw), false)
		}
	}
	f.Fuzz(func(t *testing.T, event, payload string, wrong bool) {
		priority := "INFO"
		if wrong {
			priority = "ERROR"
		}
		message, err := json.Marshal(map[string]any{"event_type": event, "priority": priority, "payload": json.RawMessage(payload)})
		if err != nil {
			return
		}
		n, err := notification.Decode(stream.Record{Value: message, Time: time.Unix(1, 0)}, notification.DefaultLimits())
		if err != nil {
			return
		}
		res := c.Mutations(n)
		kinds := 0
		for _, set := range []bool{len(res.Mutations) > 0, res.Ignored != "", res.Err != nil} {
			if set {
				kinds++
			}
		}
		if kinds != 1 {
			t.Fatalf("%d kinds of result: %+v", kinds, res)
		}
		for i := range res.Mutations {
			m := &res.Mutations[i]
			again, err := resource.DecodeMutation(resource.EncodeMutation(m))
			if err != nil || again.Ref != m.Ref {
				t.Fatalf("the codec refuses %+v: %v", m, err)
			}
			for name, v := range m.Fields {
				if !json.Valid(v) {
					t.Errorf("%s is no JSON: %q", name, v)
				}
			}
		}
	})
}
