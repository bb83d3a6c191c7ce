package feed

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
)

// View is how much of a tenant's feed hubs may see.
type View string

// The views.
const (
	None View = "none" // nothing: it does not exist for hubs
	Thin View = "thin" // that something changed, and its path in the search API
	Full View = "full" // all that the tenant sees
)

// Config says which hubs there are and what they may see.
type Config struct {
	// Hubs are the URLs of WebSub hubs: each feed that hubs may see links to them, and
	// they are told when it changes.
	Hubs []string `yaml:"hubs"`
	// HubFeeds opens feeds to hubs.
	HubFeeds HubFeeds `yaml:"hub_feeds"`
}

// HubFeeds says how much hubs may see of which feeds.
type HubFeeds struct {
	Default  View            `yaml:"default"`
	Projects map[string]View `yaml:"projects"` // by the id of the project
}

// DefaultConfig has no hubs, and shows none anything.
func DefaultConfig() Config { return Config{HubFeeds: HubFeeds{Default: None}} }

// Validate reports all that is wrong, by key.
func (c Config) Validate() error {
	var errs []error
	for i, hub := range c.Hubs {
		key := fmt.Sprintf("hubs[%d]", i)
		u, err := url.Parse(hub)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
			errs = append(errs, fmt.Errorf("%s: must be a URL such as https://hub.example.net/", key))
		case u.User != nil || u.Fragment != "":
			errs = append(errs, fmt.Errorf("%s: must hold no user and no fragment, for everybody who reads a feed sees it", key))
		case slices.Index(c.Hubs, hub) != i:
			errs = append(errs, fmt.Errorf("%s: is there twice", key))
		}
	}
	views := map[string]View{"hub_feeds.default": c.HubFeeds.Default}
	for project, v := range c.HubFeeds.Projects {
		views["hub_feeds.projects."+project] = v
	}
	for _, key := range slices.Sorted(maps.Keys(views)) {
		if !slices.Contains([]View{None, Thin, Full}, views[key]) {
			errs = append(errs, fmt.Errorf("%s: %q is not one of none, thin, full", key, views[key]))
		}
	}
	return errors.Join(errs...)
}

// Open reports whether any hub may see any feed.
func (c Config) Open() bool {
	if len(c.Hubs) == 0 {
		return false
	}
	for _, v := range c.HubFeeds.Projects {
		if v != None {
			return true
		}
	}
	return c.HubFeeds.Default != None
}

// View is how much hubs may see of a project's feed: nothing, without hubs.
func (c Config) View(project string) View {
	if len(c.Hubs) == 0 || project == "" {
		return None
	}
	if v, ok := c.HubFeeds.Projects[project]; ok {
		return v
	}
	return c.HubFeeds.Default
}
