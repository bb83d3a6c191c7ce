package layout

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fresnel-search/fresnel/indexer/catalog"
)

// Diff says in words, sorted by field, what a reindex from have to want would change;
// nothing if the index suits the catalogue.
func Diff(have, want *Layout) []string {
	var out []string
	if have.Edition != want.Edition {
		out = append(out, fmt.Sprintf("layout edition %d becomes %d", have.Edition, want.Edition))
	}
	fields(&out, "", have.Fields, want.Fields)
	for i := range want.Fields {
		name := want.Fields[i].Name
		if f := have.Field(name); f != nil && f.Type == catalog.Flattened && f.Type == want.Fields[i].Type && !have.Agrees(name, want) {
			out = append(out, fmt.Sprintf("field %s: other members of it are hidden (%s, before %s)", name,
				list(Concern(want.AdminOnly, name)), list(Concern(have.AdminOnly, name))))
		}
	}
	slices.Sort(out)
	return out
}

func list(globs []string) string {
	if len(globs) == 0 {
		return "none"
	}
	return strings.Join(globs, ", ")
}

func fields(out *[]string, prefix string, have, want []Field) {
	find := func(list []Field, name string) *Field {
		i := slices.IndexFunc(list, func(f Field) bool { return f.Name == name })
		if i < 0 {
			return nil
		}
		return &list[i]
	}
	for i := range want {
		w := &want[i]
		switch h := find(have, w.Name); {
		case h == nil:
			*out = append(*out, fmt.Sprintf("field %s%s: new, a %s", prefix, w.Name, w.Type))
		case h.Type != w.Type:
			*out = append(*out, fmt.Sprintf("field %s%s: %s becomes %s", prefix, w.Name, h.Type, w.Type))
		default:
			fields(out, prefix+w.Name+".", h.Fields, w.Fields)
		}
	}
	for i := range have {
		if find(want, have[i].Name) == nil {
			*out = append(*out, fmt.Sprintf("field %s%s: goes", prefix, have[i].Name))
		}
	}
}
