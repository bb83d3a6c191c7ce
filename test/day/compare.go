package day

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// pair is a field as Fresnel shows it and as the API does, made comparable.
func (d *Day) pair(typ, field string, got, want Object) (shown, real string) {
	s := d.fields[typ][field]
	if !meets(want, s.Only) {
		return "", ""
	}
	a, b := at(got, field), at(want, s.Path)
	if s.Join != "" {
		b = d.joined(s, want)
	}
	if s.Members != nil {
		a, b = project(a, s.Members, false), project(b, s.Members, true)
	}
	switch s.As {
	case "":
	case "lower":
		b = strings.ToLower(fmt.Sprint(b))
	case "second":
		b = second(b)
	case "empty":
		a, b = unempty(a), unempty(b)
	case "addresses":
		b = addresses(b)
	case "entries":
		b = entries(b)
	case "custom":
		b = custom(want)
	case "flavor":
		b = d.flavor(fmt.Sprint(b))
	case "keys":
		a = keysOf(a)
	default:
		return "", "unknown conversion " + s.As
	}
	return comparable(a), comparable(b)
}

// at follows the dots of a name, unless the object has the whole name.
func at(o Object, path string) any {
	if v, ok := o[path]; ok {
		return v
	}
	head, rest, ok := strings.Cut(path, ".")
	if !ok {
		return nil
	}
	inner, _ := o[head].(Object)
	return at(inner, rest)
}

func (d *Day) joined(s Source, o Object) any {
	list := []any{}
	for _, other := range d.objects[s.Join] {
		if other[s.On] == o["id"] && meets(other, s.Where) {
			list = append(list, other)
		}
	}
	return list
}

// project keeps the members of a list's items that are mapped, under our names.
func project(v any, members map[string]string, theirs bool) any {
	list, ok := v.([]any)
	if !ok {
		return v
	}
	out := make([]any, 0, len(list))
	for _, item := range list {
		o, _ := item.(Object)
		e := Object{}
		for ours, api := range members {
			name := ours
			if theirs {
				name = api
			}
			if o[name] != nil {
				e[ours] = o[name]
			}
		}
		out = append(out, e)
	}
	return out
}

func second(v any) any {
	if t, ok := moment(v); ok {
		return t.Truncate(time.Second).Format(time.RFC3339)
	}
	return v
}

func unempty(v any) any {
	if v == "" {
		return nil
	}
	return v
}

// addresses is the API's form by network, one address after the other.
func addresses(v any) any {
	out := []any{}
	nets, _ := v.(Object)
	for name, list := range nets {
		items, _ := list.([]any)
		for _, item := range items {
			a, _ := item.(Object)
			if a["OS-EXT-IPS:type"] == "floating" {
				continue // no notification has them
			}
			e := Object{"name": name, "version": a["version"], "OS-EXT-IPS-MAC:mac_addr": a["OS-EXT-IPS-MAC:mac_addr"], "OS-EXT-IPS:type": "fixed"}
			if fmt.Sprint(a["version"]) == "4" {
				e["ipv4_addr"] = a["addr"]
			} else {
				e["ipv6_addr"] = a["addr"]
			}
			out = append(out, e)
		}
	}
	return out
}

func entries(v any) any {
	m, _ := v.(Object)
	out := []any{}
	for k, x := range m {
		out = append(out, Object{"key": k, "value": x})
	}
	return out
}

// custom are an image's members that are no part of Glance's schema.
func custom(o Object) any {
	own := strings.Fields("+members checksum container_format created_at disk_format file id locations min_disk min_ram name " +
		"os_hash_algo os_hash_value os_hidden owner protected schema self size status stores tags updated_at virtual_size visibility")
	out := Object{}
	for k, v := range o {
		if !slices.Contains(own, k) {
			out[k] = v
		}
	}
	return out
}

// flavor is the id of the flavor of that name: a server shows its flavor's name.
func (d *Day) flavor(name string) any {
	for _, f := range d.objects["OS::Nova::Flavor"] {
		if f["name"] == name {
			return f["id"]
		}
	}
	return nil
}

func keysOf(v any) any {
	list, _ := v.([]any)
	out := []any{}
	for _, item := range list {
		o, _ := item.(Object)
		for _, x := range o {
			out = append(out, x)
		}
	}
	return out
}

func moment(v any) (time.Time, bool) {
	s, ok := v.(string)
	if !ok || len(s) < 19 || s[4] != '-' || s[10] != 'T' {
		return time.Time{}, false
	}
	if len(s) > 19 && !strings.HasSuffix(s, "Z") && !strings.Contains(s[19:], "+") || len(s) == 19 {
		s += "Z"
	}
	t, err := time.Parse(time.RFC3339, s)
	return t.UTC(), err == nil
}

// comparable is a value as text: times in one form, lists in no order, absent
// members as null, null and an empty list alike.
func comparable(v any) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case string:
		if t, ok := moment(v); ok {
			return t.Format(time.RFC3339Nano)
		}
	case []any:
		items := make([]string, len(v))
		for i := range v {
			items[i] = comparable(v[i])
		}
		slices.Sort(items)
		if len(items) == 0 {
			return "-"
		}
		return "[" + strings.Join(items, " ") + "]"
	case Object:
		var parts []string
		for k, x := range v {
			if x != nil {
				parts = append(parts, k+"="+comparable(x))
			}
		}
		slices.Sort(parts)
		if len(parts) == 0 {
			return "-"
		}
		return "{" + strings.Join(parts, " ") + "}"
	}
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		return err.Error()
	}
	return strings.TrimSpace(b.String())
}
