//go:build real

package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// What the ports of the cloud made up for these figures have in common with one
// another. The networks are never told of, so that looking for a port's parent is
// looking for what is not there, as in a first fill.
const (
	projects = 200
	networks = 200
)

// The words of names and descriptions.
var words = []string{
	"web", "database", "cache", "queue", "gateway", "worker", "metrics", "proxy", "batch", "search",
	"north", "south", "blue", "green", "canary", "spare", "primary", "replica", "internal", "edge",
}

// port is one resource of the cloud: the same number, the same port.
type port struct {
	n       int
	id      string
	project string
	network string
}

func newPort(n int) port {
	return port{n: n, id: uuidOf("port", n), project: projectID(skewed(n)), network: uuidOf("network", n%networks)}
}

// skewed is the number of the project that owns port n: few have many.
func skewed(n int) int {
	r := rand.New(rand.NewPCG(uint64(n), 11)) //nolint:gosec // no secret
	x := r.Float64()
	return int(projects * x * x * x)
}

func projectID(n int) string {
	h := fnv.New128a()
	fmt.Fprintf(h, "project %d", n)
	return fmt.Sprintf("%x", h.Sum(nil))
}

// uuidOf is a random-looking UUID that depends on nothing but the name.
func uuidOf(kind string, n int) string {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d", kind, n)
	r := rand.New(rand.NewPCG(h.Sum64(), 7)) //nolint:gosec // no secret
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], r.Uint64())
	binary.BigEndian.PutUint64(b[8:], r.Uint64())
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// word picks one by number.
func word(n int) string { return words[n%len(words)] }

// name is text of three words and a number.
func (p port) name() string {
	return fmt.Sprintf("%s-%s-%03d.example.net", word(p.n), word(p.n/20), p.n%1000)
}

// address of one of the port's two.
func (p port) address(i int) string {
	return fmt.Sprintf("10.%d.%d.%d", p.n>>16&255, p.n>>8&255, (p.n+i)&255)
}

// payload is what Neutron says of the port when it has been changed so many times:
// some 1.5 KB of JSON.
func (p port) payload(changed int) []byte {
	at := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC).Add(time.Duration(p.n%86400) * time.Second)
	status := "DOWN"
	if (p.n+changed)%3 > 0 {
		status = "ACTIVE"
	}
	host := fmt.Sprintf("compute-%03d.example.org", p.n%300)
	return fmt.Appendf(nil, `{"port": {"id": %q, "name": %q, "network_id": %q, "tenant_id": %q, "project_id": %[4]q, `+
		`"mac_address": "fa:16:3e:%02[5]x:%02[6]x:%02[7]x", "admin_state_up": true, "status": %[8]q, "device_id": %[9]q, `+
		`"device_owner": "compute:az-%[10]d", "fixed_ips": [{"subnet_id": %[11]q, "ip_address": %[12]q}, `+
		`{"subnet_id": %[13]q, "ip_address": %[14]q}], "port_security_enabled": true, "qos_policy_id": null, `+
		`"security_groups": [%[15]q, %[16]q], "binding:vnic_type": "normal", "binding:host_id": %[17]q, "binding:vif_type": "ovs", `+
		`"binding:vif_details": {"port_filter": true, "connectivity": "l2", "bridge_name": "br-int", "datapath_type": "system"}, `+
		`"binding:profile": {}, "allowed_address_pairs": [], "extra_dhcp_opts": [], "description": %[18]q, "dns_name": %[19]q, `+
		`"dns_assignment": [{"ip_address": %[12]q, "hostname": %[19]q, "fqdn": "%[19]s.example.org."}], `+
		`"qos_network_policy_id": null, "ip_allocation": "immediate", "tags": [%[20]q, %[21]q], `+
		`"created_at": %[22]q, "updated_at": %[23]q, "revision_number": %[24]d}}`,
		p.id, p.name(), p.network, p.project, p.n>>16&255, p.n>>8&255, p.n&255, status, uuidOf("server", p.n), p.n%3,
		uuidOf("subnet", p.n%networks), p.address(0), uuidOf("subnet6", p.n%networks), p.address(1),
		uuidOf("group", p.n%500), uuidOf("group", p.n%77), host,
		fmt.Sprintf("the %s %s of %s, change %d", word(p.n/3), word(p.n/7), word(p.n/11), changed),
		fmt.Sprintf("vm-%d", p.n), word(p.n/5), word(p.n/13),
		at.Format(time.RFC3339), at.Add(time.Duration(changed)*time.Minute).Format(time.RFC3339), changed+1)
}

// notification is the record's value by which Neutron says so: the oslo.messaging
// envelope around a message with its context.
func (p port) notification(changed int) []byte {
	at := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC).Add(time.Duration(changed)*time.Minute + time.Duration(p.n)*time.Microsecond)
	event := "port.create.end"
	if changed > 0 {
		event = "port.update.end"
	}
	var m bytes.Buffer
	fmt.Fprintf(&m, `{"message_id": %q, "publisher_id": "network.vm", "event_type": %q, "priority": "INFO", "payload": `,
		uuidOf("message", p.n*64+changed), event)
	m.Write(p.payload(changed))
	fmt.Fprintf(&m, `, "timestamp": %q, "_context": {"user": %q, "project_id": %[3]q, "system_scope": null, "project": %[3]q, `+
		`"domain": null, "is_admin": false, "read_only": false, "show_deleted": false, "auth_token": null, "request_id": "req-%[4]s", `+
		`"global_request_id": null, "resource_uuid": null, "roles": ["member", "reader"], "is_admin_project": true, `+
		`"user_id": %[2]q, "tenant_id": %[3]q, "timestamp": %[1]q, "tenant_name": null, "project_name": null, "user_name": "demo"}}`,
		at.Format("2006-01-02 15:04:05.000000"), projectID(1000+p.n%50), p.project, uuidOf("request", p.n))
	out := []byte(`{"oslo.version": "2.0", "oslo.message": "`)
	out = append(out, bytes.ReplaceAll(m.Bytes(), []byte(`"`), []byte(`\"`))...)
	return append(out, `"}`...)
}

// feed yields the notifications of n ports from the first on: each one's creation,
// or, if updates is above 0, that many changes after it, all ports' first ones first.
type feed struct{ first, n, updates int }

func (f feed) len() int { return f.n * max(1, f.updates) }

// at is the port of the i-th notification, and how often it has been changed by then.
func (f feed) at(i int) (p port, changed int) {
	if f.updates == 0 {
		return newPort(f.first + i), 0
	}
	return newPort(f.first + i%f.n), 1 + i/f.n
}
