package resource

import (
	"encoding/json"
	"slices"
	"strings"
)

// Other is the member of a shown document that holds what the catalogue does not
// know. Its registers are named "other.KEY", where KEY may have dots of its own.
const Other = "other"

// Render is the document as people see it: dotted names become objects, so that
// flavor.id is member id of object flavor. Keys under "other." nest once only. A
// dotted name stays as it is where its first part is a field itself. The result is
// deterministic: equal fields give equal bytes.
func Render(fields map[string]json.RawMessage) json.RawMessage {
	names := make([]string, 0, len(fields))
	size := 2
	for name, v := range fields {
		names = append(names, name)
		size += len(name) + len(v) + 6
	}
	slices.Sort(names)
	return appendObject(make([]byte, 0, size), names, 0, fields)
}

// appendObject appends the sorted names, which agree in their first n bytes, as one
// object. Names with one more part in common are neighbours, since they are sorted.
func appendObject(b []byte, names []string, n int, fields map[string]json.RawMessage) []byte {
	b = append(b, '{')
	for i := 0; i < len(names); {
		if i > 0 {
			b = append(b, ',')
		}
		name := names[i]
		end := len(name)
		if name[:n] != Other+"." {
			if dot := strings.IndexByte(name[n:], '.'); dot >= 0 {
				if _, taken := fields[name[:n+dot]]; !taken {
					end = n + dot
				}
			}
		}
		b = append(AppendString(b, name[n:end]), ':')
		if end == len(name) {
			b = append(b, fields[name]...)
			i++
			continue
		}
		j := i + 1
		for j < len(names) && strings.HasPrefix(names[j], name[:end+1]) {
			j++
		}
		b = appendObject(b, names[i:j], end+1, fields)
		i = j
	}
	return append(b, '}')
}
