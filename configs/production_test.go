package configs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/configs"
	"github.com/fresnel-search/fresnel/searchapi/identity"
)

// production is the configuration for production with files for its secrets.
func production(t *testing.T) configs.Config {
	t.Helper()
	dir := t.TempDir()
	text := read(t, "fresnel.production.yaml")
	for _, m := range regexp.MustCompile(`(?:password|key|secret)_file: (\S+)`).FindAllStringSubmatch(text, -1) {
		if err := os.WriteFile(filepath.Join(dir, m[1]), []byte("whsec_c2VjcmV0\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := configs.Parse([]byte(text), dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestProductionConfigurationIsAcceptedInEverySplit(t *testing.T) {
	t.Parallel()
	c := production(t)
	for _, roles := range [][]string{{"listener"}, {"indexer"}, {"publishers"}, {"searchapi"}, {"listener", "indexer"}, configs.AllRoles()} {
		c.Roles = roles
		if err := c.Validate(); err != nil {
			t.Errorf("roles %v: %v", roles, err)
		}
		if c.Kept() {
			t.Errorf("roles %v keep something in %s", roles, c.Data)
		}
	}
}

func TestProductionConfigurationLosesNothingWithOneMachine(t *testing.T) {
	t.Parallel()
	c := production(t)
	k, e := c.Listener.Kafka, c.Indexer.Elasticsearch
	if len(k.Brokers) < 3 || k.OwnTopics.Replication != 3 || k.OwnTopics.MinInsyncReplicas != 2 {
		t.Errorf("brokers %v, topics %+v", k.Brokers, k.OwnTopics)
	}
	if !k.TLS.Enabled || k.SASL.Mechanism == "" || k.SASL.Password.Empty() {
		t.Error("what goes to Kafka is not encrypted, or not logged in")
	}
	if len(e.Addresses) < 3 || e.Replicas < 1 || e.APIKey.Empty() || e.CAFile == "" {
		t.Errorf("nodes %v, replicas %d", e.Addresses, e.Replicas)
	}
	if slices.ContainsFunc(e.Addresses, func(a string) bool { return !strings.HasPrefix(a, "https://") }) {
		t.Errorf("nodes %v: not all are encrypted", e.Addresses)
	}
	if k.ProduceTimeout >= k.SessionTimeout || k.ProduceTimeout <= 15*time.Second {
		t.Errorf("produce_timeout is %s: longer than the 15 s that a failing-over cluster is silent, shorter than session_timeout of %s", k.ProduceTimeout, k.SessionTimeout)
	}
	if n := int64(2 * 1000 * c.Indexer.Partitions); c.Listener.ThrottleAbove != n {
		t.Errorf("throttle_above is %d, two full batches of each partition are %d", c.Listener.ThrottleAbove, n)
	}
	if c.Indexer.Partitions != 12 || c.SearchAPI.Identity.Mode == identity.ModeNone {
		t.Errorf("partitions %d, identity %q", c.Indexer.Partitions, c.SearchAPI.Identity.Mode)
	}
	if most := max(k.OwnTopics.MutationsRetention, k.OwnTopics.ChangesRetention); c.Indexer.TombstoneRetention <= most {
		t.Errorf("tombstones are kept for %s, topics for %s", c.Indexer.TombstoneRetention, most)
	}
}

func TestContainerIsBuiltWithTheGoOfTheModule(t *testing.T) {
	t.Parallel()
	m := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "../go.mod"))
	if m == nil || !strings.Contains(read(t, "deploy/Containerfile"), "FROM golang:"+m[1]+" ") {
		t.Errorf("go.mod says %v, the Containerfile another version", m)
	}
}
