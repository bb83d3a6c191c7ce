package feed

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/indexer/record"
)

// topicsTable holds the capability of each feed that hubs may see, by project.
const topicsTable = "feed_topics"

// maxProject bounds the ids of projects that can have a topic.
const maxProject = 150

// errProject says that no project is called so.
var errProject = errors.New("is no id of a project")

// Topics are the capability URLs of feeds: whoever knows one may read the feed as hubs
// see it. A topic is one for all hubs, for it is the feed's name among them.
type Topics struct {
	records  record.Store
	endpoint string
}

// topic is the record of a topic. Its token is as secret as the feed.
type topic struct {
	Project string    `json:"project"`
	Token   string    `json:"token"`
	Created time.Time `json:"created"`
}

// Topic describes a topic for operators, without its token.
type Topic struct {
	Project string    `json:"project"`
	View    View      `json:"view"`
	Created time.Time `json:"created"`
}

// URL returns the topic of a project's feed, and makes it if there is none.
func (t Topics) URL(ctx context.Context, project string) (string, error) {
	if project == "" || len(project) > maxProject {
		return "", errProject
	}
	for {
		r, have, err := t.read(ctx, project)
		if err != nil {
			return "", err
		}
		if r.Version != 0 {
			return t.url(have), nil
		}
		made := topic{Project: project, Token: rand.Text(), Created: time.Now().UTC().Truncate(time.Second)}
		if r.Value, err = json.Marshal(made); err != nil {
			return "", err
		}
		saved, err := t.records.Save(ctx, []record.Record{r})
		if err != nil {
			return "", fmt.Errorf("save topic: %w", err)
		}
		if saved[0].Err == nil {
			return t.url(made), nil
		}
		if !errors.Is(saved[0].Err, record.ErrConflict) {
			return "", fmt.Errorf("save topic: %w", saved[0].Err)
		}
	}
}

func (t Topics) url(of topic) string {
	return strings.TrimSuffix(t.endpoint, "/") + "/v1/tenants/" + url.PathEscape(of.Project) + "/events/" + of.Token
}

// Opens reports whether a token is the one of the project's topic.
func (t Topics) Opens(ctx context.Context, project, token string) (bool, error) {
	if project == "" || len(project) > maxProject {
		return false, nil
	}
	r, have, err := t.read(ctx, project)
	if err != nil || r.Version == 0 {
		return false, err
	}
	return subtle.ConstantTimeCompare([]byte(have.Token), []byte(token)) == 1, nil
}

// Revoke ends a topic: from now on its URL finds nothing. Another one is made when the
// feed, if hubs may still see it, is next read or changes. It answers whether there was
// one.
func (t Topics) Revoke(ctx context.Context, project string) (bool, error) {
	if project == "" || len(project) > maxProject {
		return false, nil
	}
	r, _, err := t.read(ctx, project)
	if err != nil || r.Version == 0 {
		return false, err
	}
	saved, err := t.records.Save(ctx, []record.Record{{Table: topicsTable, Key: r.Key, Version: record.Any}})
	if err == nil {
		err = saved[0].Err
	}
	if err != nil {
		return false, fmt.Errorf("revoke topic: %w", err)
	}
	return true, nil
}

func (t Topics) read(ctx context.Context, project string) (record.Record, topic, error) {
	r, err := t.records.Read(ctx, topicsTable, url.PathEscape(project))
	if err != nil {
		return r, topic{}, fmt.Errorf("read topic: %w", err)
	}
	r.Table, r.Key = topicsTable, url.PathEscape(project)
	var have topic
	if r.Version != 0 {
		if err := json.Unmarshal(r.Value, &have); err != nil {
			return r, have, errors.New("read topic: its record is no topic")
		}
	}
	return r, have, nil
}

// each calls fn with all topics, in the order of their projects' ids.
func (t Topics) each(ctx context.Context, fn func(topic)) error {
	const page = 500
	for after := ""; ; {
		rs, err := t.records.Scan(ctx, topicsTable, after, page)
		if err != nil {
			return fmt.Errorf("scan topics: %w", err)
		}
		for _, r := range rs {
			var have topic
			if err := json.Unmarshal(r.Value, &have); err != nil {
				return errors.New("scan topics: a record is no topic")
			}
			fn(have)
			after = r.Key
		}
		if len(rs) < page {
			return nil
		}
	}
}

// Topic returns the topic of a project's feed if hubs may see the feed; empty if not.
func (f *Feeds) Topic(ctx context.Context, project string) (string, error) {
	if f.config.View(project) == None {
		return "", nil
	}
	return f.topics.URL(ctx, project)
}

// Opens returns how much the holder of a token may see of a project's feed: nothing,
// unless the token is the current one and hubs may see the feed.
func (f *Feeds) Opens(ctx context.Context, project, token string) (View, error) {
	view := f.config.View(project)
	if view == None {
		return None, nil
	}
	ok, err := f.topics.Opens(ctx, project, token)
	if err != nil || !ok {
		return None, err
	}
	return view, nil
}

// Hubs are the hubs that a project's feed links to.
func (f *Feeds) Hubs(project string) []string {
	if f.config.View(project) == None {
		return nil
	}
	return f.config.Hubs
}

// Topics lists the topics for operators.
func (f *Feeds) Topics(ctx context.Context) ([]Topic, error) {
	out := []Topic{}
	err := f.topics.each(ctx, func(t topic) { out = append(out, Topic{t.Project, f.config.View(t.Project), t.Created}) })
	return out, err
}

// Revoke ends the topic of a project's feed; see Topics.Revoke.
func (f *Feeds) Revoke(ctx context.Context, project string) (bool, error) {
	return f.topics.Revoke(ctx, project)
}
