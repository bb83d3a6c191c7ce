package elastic

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/fresnel-search/fresnel/indexer/elastic/layout"
)

// index is the generation of a type's index that is written and searched. It does not
// change: a reindex makes another one.
type index struct {
	typ        string // empty for the records
	generation int
	mark       int // tells it from others of the type in versions
	name       string
	read       string // the alias to search and to read by
	write      string // the alias to write by, with require_alias
	layout     *layout.Layout
}

// errMissing says that a type has no index that serves. It wraps resource.ErrAgain
// where it leaves the store: nothing is written, and a later write may succeed.
var errMissing = errors.New("there is no index")

// indices knows which generation of each type serves. What it knows may be old: then
// the aliases are gone, the server answers 404, and again looks.
type indices struct {
	c     *client
	cfg   Config
	types map[string]string // by slug

	mu    sync.Mutex
	known map[string]*index // by slug; a missing one is not in it
	looks map[string]*look  // under way
}

type look struct {
	done  chan struct{}
	index *index
	err   error
}

func newIndices(c *client, cfg Config, types []string) (*indices, error) {
	x := &indices{c: c, cfg: cfg, types: map[string]string{recordsSlug: ""}, known: map[string]*index{}, looks: map[string]*look{}}
	for _, t := range types {
		s := slug(t)
		if other, taken := x.types[s]; taken {
			return nil, fmt.Errorf("types %s and %s would have one index", t, other)
		}
		if len(cfg.indexName(s, 1)) > 200 {
			return nil, fmt.Errorf("type %s has too long a name for an index", t)
		}
		x.types[s] = t
	}
	return x, nil
}

// current returns the generation of a type that serves, as far as this process knows;
// it asks the server only if it knows none. The error wraps errMissing if there is
// none. Use again after an answer that says that an alias of it is gone.
func (x *indices) current(ctx context.Context, slug string) (*index, error) {
	x.mu.Lock()
	found := x.known[slug]
	x.mu.Unlock()
	if found != nil {
		return found, nil
	}
	return x.again(ctx, slug, nil)
}

// again looks which generation serves now, unless somebody has since stale was
// returned. Callers at one time look once.
func (x *indices) again(ctx context.Context, slug string, stale *index) (*index, error) {
	x.mu.Lock()
	if found := x.known[slug]; found != nil && found != stale {
		x.mu.Unlock()
		return found, nil
	}
	l := x.looks[slug]
	if l == nil {
		l = &look{done: make(chan struct{})}
		x.looks[slug] = l
		go x.look(context.WithoutCancel(ctx), slug, l) // for all who wait, whoever goes
	}
	x.mu.Unlock()
	select {
	case <-l.done:
		return l.index, l.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (x *indices) look(ctx context.Context, slug string, l *look) {
	found, err := x.list(ctx, slug)
	if err == nil {
		l.index, l.err = serving(found[slug], slug)
	} else {
		l.err = fmt.Errorf("look for the index of %s: %w", slug, err)
	}
	x.mu.Lock()
	delete(x.looks, slug)
	l.index = x.learn(slug, l.index)
	x.mu.Unlock()
	close(l.done)
}

// learn keeps what serves, and returns it; nil forgets it. An equal one stays the same
// value. One of the same name may be another, made anew.
func (x *indices) learn(slug string, found *index) *index {
	was := x.known[slug]
	if was != nil && found != nil && was.name == found.name && was.mark == found.mark {
		return was
	}
	if found == nil {
		delete(x.known, slug)
	} else {
		x.known[slug] = found
	}
	return found
}

// standing is an index as the server has it.
type standing struct {
	index   // layout is nil if unfit says why
	unfit   error
	serves  bool     // it has both its aliases
	shared  string   // another index that has one of them too
	trouble []string // why it takes no writes, in words
	// shards and replicas are the server's numbers, as texts; replicas is empty if the
	// server chooses it by itself.
	shards, replicas string
}

// list asks for the indices of one type, or of all if slug is empty: by slug, each
// type's by generation.
func (x *indices) list(ctx context.Context, slug string) (map[string][]standing, error) {
	pattern := x.cfg.Prefix + "-*"
	if slug != "" {
		pattern = x.cfg.Prefix + "-" + slug + "-*"
	}
	body, err := x.c.do(ctx, esapi.IndicesGetRequest{
		Index: []string{pattern}, ExpandWildcards: "open,closed", AllowNoIndices: new(true),
		FilterPath: []string{
			"*.aliases", "*.mappings._meta", "*.settings.index.uuid", "*.settings.index.blocks", "*.settings.index.verified_before_close",
			"*.settings.index.number_of_shards", "*.settings.index.number_of_replicas", "*.settings.index.auto_expand_replicas",
		},
	})
	if err != nil {
		return nil, err
	}
	var all map[string]answeredIndex
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, fmt.Errorf("list indices: %w", err)
	}
	out := map[string][]standing{}
	strays := strayed(all)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s, generation, ok := x.cfg.parseIndex(name)
		if !ok || slug != "" && s != slug {
			continue
		}
		a := all[name]
		st := standing{index: index{
			typ: x.types[s], generation: generation, mark: markOf(generation, a.Settings.Index.UUID),
			name: name, read: readAlias(name), write: writeAlias(name),
		}, trouble: a.trouble(), shards: a.Settings.Index.Shards}
		if e := a.Settings.Index.Expand; e == "" || e == "false" {
			st.replicas = a.Settings.Index.Replicas
		}
		_, reads := a.Aliases[st.read]
		_, writes := a.Aliases[st.write]
		st.serves = reads && writes
		st.shared = cmp.Or(strays[st.read], strays[st.write])
		if s != recordsSlug {
			st.layout, st.unfit = layout.Parse(a.Mappings.Meta[layout.MetaKey])
		}
		out[s] = append(out[s], st)
	}
	for _, list := range out {
		slices.SortFunc(list, func(a, b standing) int { return a.generation - b.generation })
	}
	return out, nil
}

// strayed are the aliases that an index has of another one, with its name. The server
// shows that index too: its alias matches what was asked for.
func strayed(all map[string]answeredIndex) map[string]string {
	out := map[string]string{}
	for name, a := range all {
		for alias := range a.Aliases {
			if alias != readAlias(name) && alias != writeAlias(name) && alias != copyAlias(name) {
				out[alias] = name
			}
		}
	}
	return out
}

type answeredIndex struct {
	Aliases  map[string]json.RawMessage `json:"aliases"`
	Mappings struct {
		Meta map[string]json.RawMessage `json:"_meta"`
	} `json:"mappings"`
	Settings struct {
		Index struct {
			UUID     string         `json:"uuid"`
			Closed   string         `json:"verified_before_close"`
			Blocks   map[string]any `json:"blocks"`
			Shards   string         `json:"number_of_shards"`
			Replicas string         `json:"number_of_replicas"`
			Expand   string         `json:"auto_expand_replicas"`
		} `json:"index"`
	} `json:"settings"`
}

// trouble says why an index takes no writes.
func (a *answeredIndex) trouble() (out []string) {
	if a.Settings.Index.Closed == "true" {
		out = append(out, "it is closed")
	}
	for _, name := range slices.Sorted(maps.Keys(a.Settings.Index.Blocks)) {
		if v := a.Settings.Index.Blocks[name]; v != "true" && v != true {
			continue
		}
		if name == "read_only_allow_delete" {
			out = append(out, "it is read-only, as the server makes an index when a disk is nearly full (read_only_allow_delete)")
			continue
		}
		out = append(out, "it is blocked ("+cut(name)+")")
	}
	return out
}

// serving picks the generation that has its aliases.
func serving(list []standing, slug string) (*index, error) {
	var found *index
	for i := range list {
		st := &list[i]
		switch {
		case !st.serves:
		case st.shared != "":
			return nil, fmt.Errorf("%w that serves alone: %s has an alias of %s too", errMissing, cut(st.shared), st.name)
		case st.unfit != nil:
			return nil, fmt.Errorf("%w that fits: %s: %w", errMissing, st.name, st.unfit)
		case found != nil:
			return nil, fmt.Errorf("%w that serves alone: %s and %s both have aliases", errMissing, found.name, st.name)
		default:
			found = &st.index
		}
	}
	if found != nil {
		return found, nil
	}
	if len(list) > 0 {
		names := make([]string, len(list))
		for i := range list {
			names[i] = list[i].name
		}
		return nil, fmt.Errorf("%w with its aliases for %s, only %s: give one back its aliases -read and -write, or drop it",
			errMissing, slug, strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("%w for %s: restart to create it", errMissing, slug)
}

// ensure creates the first generation of each type that has no index at all, and
// learns what serves.
func (x *indices) ensure(ctx context.Context, layouts map[string]*layout.Layout) error {
	found, err := x.list(ctx, "")
	if err != nil {
		return fmt.Errorf("list indices: %w", err)
	}
	places := make(chan struct{}, 8)
	errs := make(chan error, len(x.types))
	for slug := range x.types {
		go func() {
			places <- struct{}{}
			errs <- x.ensureOne(ctx, slug, found[slug], layouts[x.types[slug]])
			<-places
		}()
	}
	var all []error
	for range x.types {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

func (x *indices) ensureOne(ctx context.Context, slug string, found []standing, l *layout.Layout) error {
	if len(found) > 0 {
		if ix, err := serving(found, slug); err == nil {
			x.mu.Lock()
			x.learn(slug, ix)
			x.mu.Unlock()
		}
		return nil
	}
	mapping := recordsMapping()
	if l != nil {
		mapping = l.Mapping()
	}
	if err := x.create(ctx, x.cfg.indexName(slug, 1), mapping, true); err != nil && !exists(err) {
		return err
	}
	return nil
}

// exists reports whether somebody else created the index first.
func exists(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Type == "resource_already_exists_exception"
}

// createLimit is how long making an index may take at least: the cluster makes many one
// after the other.
const createLimit = 2 * time.Minute

// create makes an index with this configuration's shards. If serve is set, it has its
// aliases and this configuration's replicas and refresh interval; else it is made to be
// copied into. All of that comes with the index, so that no later request can undo it.
func (x *indices) create(ctx context.Context, name string, mapping json.RawMessage, serve bool) error {
	aliases := map[string]any{copyAlias(name): struct{}{}}
	replicas, refresh := 0, "-1"
	if serve {
		aliases = map[string]any{readAlias(name): struct{}{}, writeAlias(name): struct{}{}}
		replicas, refresh = x.cfg.Replicas, fmt.Sprintf("%dms", x.cfg.RefreshInterval.Milliseconds())
	}
	body, err := json.Marshal(map[string]any{
		"aliases": aliases, "mappings": mapping,
		"settings": map[string]any{
			"number_of_shards": x.cfg.Shards, "number_of_replicas": replicas, "refresh_interval": refresh,
			// Each matching clause counts its boost: statistics would tell of others' documents.
			"similarity": map[string]any{"default": map[string]any{"type": "boolean"}},
			"mapping":    map[string]any{"total_fields": map[string]any{"limit": 5000}, "nested_objects": map[string]any{"limit": 100_000}},
		},
	})
	if err != nil {
		return err
	}
	limit := max(x.cfg.Timeout, createLimit)
	if _, err = x.c.within(ctx, limit, esapi.IndicesCreateRequest{Index: name, Body: bytes.NewReader(body)}); err != nil {
		return fmt.Errorf("create index %s: %w", name, err)
	}
	return nil
}
