// Package feed keeps the newest changes of each tenant and shows them as an Atom feed;
// it tells WebSub hubs when a feed has something new, and keeps the capability URLs by
// which hubs may read.
//
// A Recorder follows the change log and writes records; Feeds reads them, wherever a
// search API runs on the same store; a Pinger tells hubs, through a publisher plugin.
// It serves no HTTP (searchapi does) and keeps no history: a tenant has its newest
// changes and no more. Its invariants: a tenant's feed holds what the tenant may see
// as the projection of the change log has it, and nothing else; a hub reads no feed
// that the configuration does not open to hubs, and none but by its capability URL.
package feed

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/indexer/changelog"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/plugins/change"
)

const (
	// entriesTable holds the newest changes of each reader as the log has them, those that
	// were read at once in one record, under the key of the newest, which sorts that first.
	entriesTable = "feed_entries"
	// page is how many records are read at once.
	page = 20
	// Newest is how many changes a feed shows.
	Newest = 50
	// keep is how many are kept of each reader: more than shown, as some may be repeats
	// or invisible to one of many.
	keep = 2 * Newest
)

// Project returns the change that an audience may see of an entry; false if none.
type Project func(e *changelog.Entry, a changelog.Audience) (change.Change, bool)

// Entry is one change in a feed.
type Entry struct {
	Change change.Change
	// Shown is when Fresnel showed the change: the time of its record in the log.
	Shown time.Time
}

// Feeds reads feeds. It is safe for concurrent use.
type Feeds struct {
	records record.Store
	project Project
	config  Config
	topics  Topics
}

// New returns the feeds that are kept in a store. The endpoint is how hubs reach the
// search API; it may be empty if there are none.
func New(c Config, endpoint string, records record.Store, project Project) *Feeds {
	return &Feeds{records: records, project: project, config: c, topics: Topics{records, endpoint}}
}

// Newest returns the newest changes that a project may see, the newest first.
func (f *Feeds) Newest(ctx context.Context, project string) ([]Entry, error) {
	own, err := newest(ctx, f.records, resource.Project(project))
	if err != nil {
		return nil, err
	}
	everyones, err := newest(ctx, f.records, resource.Everyone)
	if err != nil {
		return nil, err
	}
	both := slices.Concat(own, everyones)
	slices.SortFunc(both, func(a, b logged) int { return newer(b, a) })
	var out []Entry // the oldest first: of what the log has twice, the first occurrence counts
	seen := map[string]bool{}
	for _, l := range both {
		entry, ok, err := f.entry(l, project)
		if err != nil {
			return nil, err
		}
		if ok && !seen[entry.Change.ID] {
			seen[entry.Change.ID] = true
			out = append(out, entry)
		}
	}
	slices.Reverse(out)
	return out[:min(len(out), Newest)], nil
}

// entry is what a project may see of an entry of the log.
func (f *Feeds) entry(l logged, project string) (Entry, bool, error) {
	e, err := changelog.Decode(l.value)
	if err != nil {
		return Entry{}, false, fmt.Errorf("feed entry at %d/%d: %w", l.partition, l.offset, err)
	}
	c, ok := f.project(e, audience(resource.Project(project)))
	return Entry{Change: c, Shown: l.at}, ok, nil
}

// audience is through whose eyes a feed looks: a reader's, who is one of everyone.
func audience(who resource.Principal) changelog.Audience {
	return changelog.Audience{Principals: []resource.Principal{who, resource.Everyone}}
}

// projectOf is the id of the project that a reader is; false if it is none.
func projectOf(who resource.Principal) (string, bool) {
	return strings.CutPrefix(string(who), string(resource.Project("")))
}

// newest returns the newest entries of a reader, in no order, and at least as many as are
// kept if there are.
func newest(ctx context.Context, records record.Store, who resource.Principal) ([]logged, error) {
	var out []logged
	for after := ""; ; {
		rs, err := scan(ctx, records, who, after)
		if err != nil {
			return nil, err
		}
		for _, r := range rs {
			entries, err := unpack(r.Value)
			if err != nil {
				return nil, fmt.Errorf("read feed: %s: %w", r.Key, err)
			}
			out = append(out, entries...)
		}
		if len(rs) < page {
			return out, nil
		}
		after = rs[len(rs)-1].Key
		if slices.SortFunc(out, newer); len(out) >= keep && !out[keep-1].at.Before(shown(after)) {
			return out, nil // what follows is older
		}
	}
}

// scan returns a page of a reader's records, those with the newest entries first.
func scan(ctx context.Context, records record.Store, who resource.Principal, after string) ([]record.Record, error) {
	prefix := prefix(who)
	if after == "" {
		after = prefix
	}
	rs, err := records.Scan(ctx, entriesTable, after, page)
	if err != nil {
		return nil, fmt.Errorf("read feed: %w", err)
	}
	for i, r := range rs {
		if !strings.HasPrefix(r.Key, prefix) {
			return rs[:i], nil
		}
	}
	return rs, nil
}

// prefix begins the keys of a reader. Ids may be long and hold anything.
func prefix(who resource.Principal) string {
	const enough = 16
	sum := sha256.Sum256([]byte(who))
	return hex.EncodeToString(sum[:enough]) + "/"
}

// key is the key of a record, by its newest entry: it follows from where and when the log
// has that.
func key(who resource.Principal, newest logged) string {
	return fmt.Sprintf("%s%016x-%08x-%016x", prefix(who), math.MaxInt64-newest.at.UnixMilli(), newest.partition, math.MaxInt64-newest.offset)
}

// shown is the time in a key.
func shown(key string) time.Time {
	text, _, _ := strings.Cut(key[strings.LastIndexByte(key, '/')+1:], "-")
	n, err := strconv.ParseInt(text, 16, 64)
	if err != nil {
		return time.Unix(0, 0).UTC()
	}
	return time.UnixMilli(math.MaxInt64 - n).UTC()
}
