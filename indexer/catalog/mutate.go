package catalog

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/listener/notification"
	"github.com/fresnel-search/fresnel/plugins/change"
)

// Result is what a notification became: mutations, or the reason why it was ignored,
// or the reason why it is poison. Exactly one of the three is set.
type Result struct {
	Mutations []resource.Mutation
	Ignored   string
	Err       error // a *notification.Error
}

// The reasons to ignore a notification.
const (
	IgnoredUnknown   = "unknown_event" // no type knows the event type
	IgnoredRule      = "rule"          // a rule says so
	IgnoredPriority  = "priority"      // the rules that know it want another priority
	IgnoredCondition = "condition"     // the rules that know it want another payload
)

// maxID bounds a resource id, maxOther the undeclared members kept of a payload.
const (
	maxID    = 512
	maxOther = 64
)

// Mutations tells what a notification says about resources. In each type, the first
// rule that fits is followed.
func (c *Catalog) Mutations(n *notification.Notification) Result {
	event := strings.ToLower(n.EventType)
	var res Result
	var done *Type
	ignored := ""
	for _, r := range c.candidates(event) {
		if r.typ == done {
			continue
		}
		if !r.wants(n.Priority) {
			ignored = weaker(ignored, IgnoredPriority)
			continue
		}
		ms, why, err := r.apply(n)
		if err != nil {
			return Result{Err: err}
		}
		if why == IgnoredCondition {
			ignored = weaker(ignored, why)
			continue
		}
		done = r.typ
		if why != "" {
			ignored = weaker(ignored, why)
		}
		res.Mutations = append(res.Mutations, ms...)
	}
	if len(res.Mutations) == 0 {
		res.Ignored = weaker(ignored, IgnoredUnknown)
	}
	return res
}

// weaker keeps the reason that tells most: a rule's, then a condition, a priority.
func weaker(a, b string) string {
	order := []string{IgnoredRule, IgnoredCondition, IgnoredPriority, IgnoredUnknown}
	for _, reason := range order {
		if a == reason || b == reason {
			return reason
		}
	}
	return ""
}

// candidates are the rules that name the event, in the order of types and rules.
func (c *Catalog) candidates(event string) []*rule {
	if rules, ok := c.known.get(event); ok {
		return rules
	}
	rules := c.find(event)
	c.known.put(event, rules)
	return rules
}

func (c *Catalog) find(event string) []*rule {
	exact := c.exact[event]
	var wild []*rule
	for _, r := range c.wild {
		if r.names(event) && !slices.Contains(exact, r) {
			wild = append(wild, r)
		}
	}
	if len(wild) == 0 {
		return exact
	}
	all := append(slices.Clone(exact), wild...)
	slices.SortStableFunc(all, func(a, b *rule) int {
		if a.typ != b.typ {
			return strings.Compare(a.typ.Name, b.typ.Name)
		}
		return a.index - b.index
	})
	return all
}

// rule is one compiled source of a type.
type rule struct {
	typ        *Type
	index      int
	events     []string        // lower case, maybe with *
	priorities map[string]bool // nil: every one but ERROR and CRITICAL
	action     action
	payload    []payloadPath
	when       []condition
	id         []template
	version    []payloadPath
	create     bool
	revive     bool
	owner      []payloadPath // the owning project in the payload

	fields  []binding // of full, partial and event
	sets    []binding // whole sets of full and partial
	implied []implied
	other   bool // undeclared members are kept
	covered map[string]bool
	drop    []string

	// Of put and drop.
	element  *binding
	list     payloadPath // the items; nil: the payload is the one item
	whole    bool        // the items are the whole set
	key      *template   // of elements that are dropped
	dropKeys []template  // further elements to drop
	asItems  []conversion
	also     *rule // elements besides the document
}

// action is what a rule makes of a notification.
type action string

const (
	actFull    action = "full"
	actPartial action = "partial"
	actDelete  action = "delete"
	actPut     action = "put"
	actDrop    action = "drop"
	actEvent   action = "event"
	actIgnore  action = "ignore"
)

func (r *rule) names(event string) bool {
	return slices.ContainsFunc(r.events, func(p string) bool { return p == event || match(p, event) })
}

// wants reports whether the rule is for that priority. By default, not for errors:
// the same event type at ERROR often means that nothing happened.
func (r *rule) wants(priority string) bool {
	if r.priorities == nil {
		return priority != "ERROR" && priority != "CRITICAL"
	}
	return r.priorities[priority]
}

func (r *rule) apply(n *notification.Notification) (ms []resource.Mutation, ignored string, err error) {
	if r.action == actIgnore {
		if !meets(r.when, n.Payload) {
			return nil, IgnoredCondition, nil
		}
		return nil, IgnoredRule, nil
	}
	items, ok := r.items(n.Payload)
	if !ok {
		return nil, "", &notification.Error{Reason: notification.BadPayload, Detail: r.typ.Name + " is not in " + n.EventType}
	}
	for _, item := range items {
		if !meets(r.when, item) {
			continue
		}
		m, err := r.mutation(n, item)
		if err != nil {
			return nil, "", err
		}
		ms = merged(ms, m)
	}
	if len(ms) == 0 {
		return nil, IgnoredCondition, nil
	}
	return ms, "", nil
}

// items are the objects that the rule is about: one, or all of a bulk request.
func (r *rule) items(payload any) ([]any, bool) {
	if len(r.payload) == 0 {
		_, ok := payload.(map[string]any)
		return []any{payload}, ok
	}
	for _, p := range r.payload {
		switch v, _ := p.find(payload); v := v.(type) {
		case map[string]any:
			return []any{v}, true
		case []any:
			return v, !slices.ContainsFunc(v, func(x any) bool { _, ok := x.(map[string]any); return !ok })
		}
	}
	return nil, false
}

// merged adds m, or puts its elements to those of the same resource.
func merged(ms []resource.Mutation, m resource.Mutation) []resource.Mutation {
	if m.Kind == resource.Put || m.Kind == resource.Drop {
		for i := range ms {
			if ms[i].Ref != m.Ref || ms[i].Kind != m.Kind {
				continue
			}
			for set, elements := range m.Elements {
				if ms[i].Elements[set] == nil {
					ms[i].Elements[set] = elements
					continue
				}
				maps.Copy(ms[i].Elements[set], elements)
			}
			return ms
		}
	}
	return append(ms, m)
}

func (r *rule) mutation(n *notification.Notification, item any) (resource.Mutation, error) {
	id, err := r.resourceID(n, item)
	if err != nil {
		return resource.Mutation{}, err
	}
	m := resource.Mutation{
		Ref:     resource.Ref{Type: r.typ.Name, ID: id},
		Kind:    resource.Kind(r.action),
		Stamp:   resource.Stamp{Time: n.Timestamp.UnixMicro(), Version: r.sourceVersion(item), Message: n.MessageID},
		Revives: r.revive,
		Cause: change.Cause{
			Kind: change.ByNotification, EventType: n.EventType, Priority: n.Priority, PublisherID: n.PublisherID,
			Timestamp: n.Timestamp, MessageID: n.MessageID, RequestID: n.Context.RequestID,
			InitiatorUser: n.Context.UserID, InitiatorProject: n.Context.ProjectID,
		},
	}
	switch r.action {
	case actFull, actPartial, actEvent:
		m.Fields = r.document(n, item, id)
		m.Sets, m.Elements = r.collections(n, item)
		if r.also != nil && m.Sets[r.also.element.name] == nil {
			err = r.also.elements(&m, item)
		}
	case actPut, actDrop:
		err = r.elements(&m, item)
	case actDelete, actIgnore: // carry nothing
	}
	return m, err
}

func (r *rule) resourceID(n *notification.Notification, item any) (string, error) {
	for _, t := range r.id {
		id, ok := t.fill(item)
		if !ok {
			continue
		}
		if len(id) > maxID || strings.ContainsFunc(id, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			return "", &notification.Error{Reason: notification.BadResource, Detail: "the id of a " + r.typ.Name + " is too long or has control characters"}
		}
		return id, nil
	}
	return "", &notification.Error{Reason: notification.MissingResource, Detail: n.EventType + " names no " + r.typ.Name}
}

func (r *rule) sourceVersion(item any) int64 {
	for _, p := range r.version {
		x, _ := p.find(item)
		s, ok := scalarText(x)
		if !ok {
			continue
		}
		if v, err := strconv.ParseInt(s, 10, 64); err == nil && v > 0 {
			return v
		}
	}
	return 0
}

// document is what the payload says about declared fields and, if the rule lets
// them through, about undeclared ones.
func (r *rule) document(n *notification.Notification, item any, id string) map[string]json.RawMessage {
	fields := make(map[string]json.RawMessage, len(r.fields)+1)
	var room page
	for i := range r.fields {
		b := &r.fields[i]
		x, said := b.value.get(item, b.typ)
		if said && (x != true || believed(b.value.believe, n, r.create, r.ownerIn(item))) {
			fields[b.name] = room.canonical(x)
		}
	}
	if _, ok := r.typ.fields["id"]; ok && r.action != actEvent {
		fields["id"] = room.canonical(id)
	}
	if r.other {
		r.rest(item, fields)
	}
	return fields
}

// page is memory that the values of one document share, instead of some for each.
type page []byte

// canonical is like the function of that name.
func (p *page) canonical(v any) json.RawMessage {
	if *p == nil {
		*p = make([]byte, 0, 1024)
	}
	from := len(*p)
	*p = appendCanonical(*p, v)
	return json.RawMessage((*p)[from:len(*p):len(*p)])
}

// rest adds the undeclared members that are scalars, or lists of scalars.
func (r *rule) rest(item any, fields map[string]json.RawMessage) {
	m, _ := item.(map[string]any)
	var names []string
	for k := range m {
		if !r.covered[k] {
			names = append(names, k)
		}
	}
	slices.Sort(names)
	kept := 0
	for _, k := range names {
		if kept == maxOther {
			return
		}
		if !plainName(k) || slices.ContainsFunc(r.drop, func(glob string) bool { return match(glob, k) }) {
			continue
		}
		if v := m[k]; v == nil || fit(Keyword, v) != any(unfit{}) {
			if text := canonical(v); len(text) <= maxText {
				fields[Other+"."+k] = text
				kept++
			}
		}
	}
}

// plainName reports whether an undeclared member may be kept under its name.
func plainName(k string) bool {
	if k == "" || len(k) > 128 || k == "key" || secretName(k) || secretValue(k) {
		return false
	}
	return !strings.ContainsFunc(k, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("_-.:", c)
	})
}

// collections are the whole sets that the payload shows, and the elements that its
// booleans stand for.
func (r *rule) collections(n *notification.Notification, item any) (sets, elements map[string]map[string]json.RawMessage) {
	for i := range r.sets {
		b := &r.sets[i]
		list, said := b.value.raw(item)
		if !said {
			continue
		}
		if whole, ok := b.elements(list); ok {
			put(&sets, b.name, whole)
		}
	}
	for _, im := range r.implied {
		x, _ := im.from.find(item)
		yes, ok := x.(bool)
		switch {
		case !ok || yes && !believed(im.believe, n, r.create, r.ownerIn(item)):
		case yes:
			put(&elements, im.set, map[string]json.RawMessage{im.key: im.element})
		default:
			put(&elements, im.set, map[string]json.RawMessage{im.key: nil})
		}
	}
	return sets, elements
}

// ownerIn is the owning project that the payload names.
func (r *rule) ownerIn(item any) string {
	for _, p := range r.owner {
		x, _ := p.find(item)
		if s, _ := scalarText(x); s != "" {
			return s
		}
	}
	return ""
}

// put adds elements under a set's name to a map that may not be made yet.
func put(to *map[string]map[string]json.RawMessage, set string, elements map[string]json.RawMessage) {
	if *to == nil {
		*to = map[string]map[string]json.RawMessage{}
	}
	if (*to)[set] == nil {
		(*to)[set] = elements
		return
	}
	maps.Copy((*to)[set], elements)
}

// raw is the list that a set's elements come from, converted but not yet fitted.
func (v *value) raw(item any) (any, bool) {
	x, said := v.first(item)
	if !said || x == nil {
		return nil, false
	}
	for _, convert := range v.as {
		x = convert(x)
	}
	return x, true
}

// elements fills in a put or a drop.
func (r *rule) elements(m *resource.Mutation, item any) error {
	items := []any{item}
	if r.list != nil {
		x, _ := r.list.find(item)
		for _, convert := range r.asItems {
			x = convert(x)
		}
		list, ok := x.([]any)
		if !ok && x != nil || x == nil && !r.whole {
			return &notification.Error{Reason: notification.BadPayload, Detail: m.Cause.EventType + " has no list of elements"}
		}
		items = list
	}
	if r.whole {
		whole, _ := r.element.elements(append([]any{}, items...))
		put(&m.Sets, r.element.name, whole)
		return nil
	}
	elements := map[string]json.RawMessage{}
	for _, t := range r.dropKeys {
		if key, ok := t.fill(item); ok {
			elements[key] = nil
		}
	}
	for _, x := range items {
		key, e, ok := r.elementOf(x)
		if !ok {
			return errMissingKey(m.Cause.EventType, r.element.name)
		}
		elements[key] = e
	}
	put(&m.Elements, r.element.name, elements)
	return nil
}

// elementOf is the key and, for a put, the value of an element.
func (r *rule) elementOf(x any) (string, json.RawMessage, bool) {
	if r.action == actPut {
		return r.element.keyed(x)
	}
	if r.element.set == Itself {
		key, ok := scalarText(x)
		if ok {
			return key, nil, key != ""
		}
	}
	if r.key == nil {
		return "", nil, false
	}
	key, ok := r.key.fill(x)
	return key, nil, ok
}

func errMissingKey(event, set string) error {
	return &notification.Error{Reason: notification.MissingResource, Detail: event + " names no element of " + set}
}
