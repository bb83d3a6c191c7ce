package feed_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/fresnel-search/fresnel/searchapi/feed"
)

func open(def feed.View, projects map[string]feed.View) feed.Config {
	return feed.Config{Hubs: []string{"https://hub.example.net/"}, HubFeeds: feed.HubFeeds{Default: def, Projects: projects}}
}

func token(topic string) string { return topic[strings.LastIndexByte(topic, '/')+1:] }

func TestTopicOpensItsFeedUntilItIsRevoked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, open(feed.Thin, map[string]feed.View{"b": feed.Full, "c": feed.None}))
	opens := func(project, token string) feed.View {
		t.Helper()
		v, err := w.feeds.Opens(t.Context(), project, token)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	topics := map[string]string{}
	for _, project := range []string{"a", "b", "c"} {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if _, err := w.feeds.Topic(t.Context(), project); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		topics[project], _ = w.feeds.Topic(t.Context(), project)
	}
	if !strings.HasPrefix(topics["a"], "https://search.example.net/v1/tenants/a/events/") || len(token(topics["a"])) < 26 || topics["c"] != "" {
		t.Errorf("topics = %v", topics)
	}
	for _, c := range []struct {
		project, token string
		want           feed.View
	}{
		{"a", token(topics["a"]), feed.Thin},
		{"b", token(topics["b"]), feed.Full},
		{"a", token(topics["b"]), feed.None},
		{"b", token(topics["a"]), feed.None},
		{"c", token(topics["a"]), feed.None},
		{"nobody", token(topics["a"]), feed.None},
		{"a", "", feed.None},
		{"a", token(topics["a"]) + "x", feed.None},
		{strings.Repeat("x", 1000), "x", feed.None},
	} {
		if got := opens(c.project, c.token); got != c.want {
			t.Errorf("a topic of %s: %s, want %s", c.project, got, c.want)
		}
	}
	if had, err := w.feeds.Revoke(t.Context(), "a"); !had || err != nil {
		t.Fatalf("Revoke() = %v, %v", had, err)
	}
	if got := opens("a", token(topics["a"])); got != feed.None {
		t.Errorf("a revoked topic opens %s", got)
	}
	if had, err := w.feeds.Revoke(t.Context(), "a"); had || err != nil {
		t.Errorf("Revoke() of nothing = %v, %v", had, err)
	}
	again, err := w.feeds.Topic(t.Context(), "a")
	if err != nil || again == topics["a"] || opens("a", token(topics["a"])) != feed.None || opens("a", token(again)) != feed.Thin {
		t.Errorf("the next topic is %s, %v", again, err)
	}
	list, err := w.feeds.Topics(t.Context())
	if err != nil || len(list) != 2 || list[0].Project != "a" || list[0].View != feed.Thin || list[1].View != feed.Full {
		t.Errorf("Topics() = %v, %v", list, err)
	}
}

func TestWithoutHubsNothingIsOpen(t *testing.T) {
	t.Parallel()
	before := newWorld(t, open(feed.Full, nil))
	topic, err := before.feeds.Topic(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	c := open(feed.Full, nil)
	c.Hubs = nil
	none := feed.New(c, "https://search.example.net", before.store, before.project)
	if v, err := none.Opens(t.Context(), "a", token(topic)); v != feed.None || err != nil {
		t.Errorf("Opens() = %v, %v", v, err)
	}
	if now, err := none.Topic(t.Context(), "a"); now != "" || err != nil || none.Hubs("a") != nil || c.Open() {
		t.Errorf("Topic() = %v, %v; hubs %v", now, err, none.Hubs("a"))
	}
}

func TestConfigThatMakesNoSenseIsRefused(t *testing.T) {
	t.Parallel()
	if err := feed.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := feed.Config{
		Hubs:     []string{"hub.example.net", "https://u:canary@hub/", "https://hub/", "https://hub/"},
		HubFeeds: feed.HubFeeds{Default: "some", Projects: map[string]feed.View{"p": ""}},
	}.Validate()
	for _, want := range []string{"hubs[0]: must be a URL", "hubs[1]: must hold no user", "hubs[3]: is there twice", `hub_feeds.default: "some"`, "hub_feeds.projects.p: "} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("Validate() = %v, want %q in it", err, want)
		}
	}
}
