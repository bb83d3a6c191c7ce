package elastic

import (
	"fmt"
	"strconv"
	"strings"
)

// recordsSlug stands in the names of the index of records where others have a type's
// slug; no type has it, since there is a - in those.
const recordsSlug = "records"

// slug is a type's name as it stands in names of indices: os-nova-server.
func slug(typ string) string { return strings.ToLower(strings.ReplaceAll(typ, "::", "-")) }

// indexName is the name of a generation, from 1.
func (c Config) indexName(slug string, generation int) string {
	return fmt.Sprintf("%s-%s-%06d", c.Prefix, slug, generation)
}

func readAlias(index string) string { return index + "-read" }

func writeAlias(index string) string { return index + "-write" }

// parseIndex is the reverse of indexName.
func (c Config) parseIndex(name string) (slug string, generation int, ok bool) {
	rest, ok := strings.CutPrefix(name, c.Prefix+"-")
	at := strings.LastIndexByte(rest, '-')
	if !ok || at < 1 || len(rest)-at-1 < 6 {
		return "", 0, false
	}
	n, err := strconv.Atoi(rest[at+1:])
	if err != nil || n < 1 || c.indexName(rest[:at], n) != name {
		return "", 0, false
	}
	return rest[:at], n, true
}
