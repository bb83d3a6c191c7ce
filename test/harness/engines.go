package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

// Engines are what the servers of one Fresnel stand on: a Kafka and a store. Servers
// made of the same Engines are processes of the same Fresnel, except on the embedded
// ones, where each server has its own.
type Engines struct {
	// Kafka is a list of brokers, and Search one of URLs of a cluster, both parted by
	// commas; empty means embedded. A test may put a proxy in between before it makes a
	// server.
	Kafka, Search string
	// Flavor is what Search is: elasticsearch or opensearch.
	Flavor string
	// Prefix of the names of all indices; of this test alone.
	Prefix string

	broker, cluster string // what is emptied, never a proxy
	mu              sync.Mutex
	servers         []*Server
}

// Embedded are the broker and the store that each server brings with it.
func Embedded() *Engines { return &Engines{} }

// Real are the Kafka and the Elasticsearch that the environment names, empty. No
// other test uses that Kafka until this one ends, in any process of this machine,
// because the names of Fresnel's topics are fixed. The test is skipped if there are
// none, and fails if CI=true.
func Real(t testing.TB) *Engines { return on(t, "FRESNEL_TEST_ELASTICSEARCH", "elasticsearch") }

// RealOpenSearch is Real with OpenSearch in place of Elasticsearch.
func RealOpenSearch(t testing.TB) *Engines {
	return on(t, "FRESNEL_TEST_OPENSEARCH", "opensearch")
}

// Need is the value of an environment variable that says where a server is. Without
// it the test is skipped, or fails if CI=true, and says what provides it.
func Need(t testing.TB, variable string) string {
	t.Helper()
	v := os.Getenv(variable)
	if v == "" {
		const how = `%s is not set; "make lab-up" starts the servers and says how to name them`
		if os.Getenv("CI") == "true" {
			t.Fatalf(how, variable)
		}
		t.Skipf(how, variable)
	}
	return v
}

func on(t testing.TB, variable, flavor string) *Engines {
	t.Helper()
	return On(t, Need(t, "FRESNEL_TEST_KAFKA"), Need(t, variable), flavor)
}

// On is Real with the brokers and the cluster that are named.
func On(t testing.TB, brokers, cluster, flavor string) *Engines {
	t.Helper()
	e := &Engines{Kafka: brokers, Search: cluster, Flavor: flavor, broker: brokers, cluster: cluster}
	exclusive(t, e.broker)
	t.Cleanup(func() {
		if err := e.dropIndices(); err != nil {
			t.Errorf("indices are left behind: %v", err)
		}
	})
	e.Reset(t)
	return e
}

// exclusive waits until no other test uses the brokers, and keeps them to the end of
// the test.
func exclusive(t testing.TB, brokers string) {
	t.Helper()
	name := fmt.Sprintf("fresnel-test-%08x.lock", crc32.ChecksumIEEE([]byte(brokers)))
	f, err := os.OpenFile(filepath.Join(os.TempDir(), name), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil { // which unlocks it
			t.Error(err)
		}
	})
}

// IsReal reports whether there is a Kafka that outlives the servers.
func (e *Engines) IsReal() bool { return e.Kafka != "" }

// Reset kills the servers and forgets everything: the next server begins with an
// empty Kafka and no index.
func (e *Engines) Reset(t testing.TB) {
	t.Helper()
	e.mu.Lock()
	old := e.servers
	e.servers = nil
	e.mu.Unlock()
	for _, s := range old {
		s.Kill()
	}
	if !e.IsReal() {
		return
	}
	if err := e.dropIndices(); err != nil {
		t.Fatal(err)
	}
	e.Prefix = fmt.Sprintf("t%010x", rand.Uint64()&0xffffffffff) //nolint:gosec // a name, no secret
	Eventually(t, "Kafka is empty", func() error { return emptyKafka(e.broker) })
}

// Refresh makes searches find what has been written.
func (e *Engines) Refresh(t testing.TB) {
	t.Helper()
	if e.cluster == "" {
		return
	}
	if _, err := e.ask(http.MethodPost, "/"+e.Prefix+"-*/_refresh"); err != nil {
		t.Fatal(err)
	}
}

// dropIndices deletes the indices of this Fresnel by their names: clusters refuse
// patterns.
func (e *Engines) dropIndices() error {
	if e.Prefix == "" || e.cluster == "" {
		return nil
	}
	b, err := e.ask(http.MethodGet, "/_cat/indices/"+e.Prefix+"-*?format=json&expand_wildcards=all&h=index")
	if err != nil {
		return err
	}
	var all []struct{ Index string }
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	var errs []error
	for some := range slices.Chunk(all, 50) { // a URL may have 4 KB
		names := make([]string, len(some))
		for n, i := range some {
			names[n] = i.Index
		}
		_, err := e.ask(http.MethodDelete, "/"+strings.Join(names, ",")+"?ignore_unavailable=true")
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// ask sends a request without body to the first node of the cluster that answers.
func (e *Engines) ask(method, path string) (b []byte, err error) {
	for node := range strings.SplitSeq(e.cluster, ",") {
		var refused *StatusError
		if b, err = askNode(method, node+path); err == nil || errors.As(err, &refused) {
			break
		}
	}
	return b, err
}

func askNode(method, uri string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, uri, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = &StatusError{Code: resp.StatusCode, Body: string(b)}
	}
	return b, err
}

// settings is the test's configuration over what suits tests on these engines, and
// the addresses over both.
func (e *Engines) settings(text string) (string, error) {
	if !e.IsReal() && e.Search == "" {
		return text, nil
	}
	var asked map[string]any
	if err := yaml.Unmarshal([]byte(text), &asked); err != nil {
		return "", err
	}
	all := map[string]any{}
	if e.IsReal() {
		// A killed member of a group is missed after the session, not after half a minute.
		merge(all, tree(map[string]any{"session_timeout": "3s", "heartbeat_interval": "500ms"}, "listener", "kafka"))
	}
	if e.Search != "" {
		merge(all, tree(map[string]any{"replicas": 0}, "indexer", "elasticsearch")) // one node has no place for more
	}
	merge(all, asked)
	if e.IsReal() {
		merge(all, tree(map[string]any{"brokers": strings.Split(e.Kafka, ",")}, "listener", "kafka"))
		delete(all["listener"].(map[string]any)["kafka"].(map[string]any), "embedded")
	}
	if e.Search != "" {
		merge(all, tree(map[string]any{"addresses": strings.Split(e.Search, ","), "flavor": e.Flavor, "prefix": e.Prefix}, "indexer", "elasticsearch"))
		merge(all, tree(map[string]any{"store": "elasticsearch"}, "indexer"))
		merge(all, tree(map[string]any{"store": "elasticsearch"}, "indexer"))
	}
	b, err := yaml.Marshal(all)
	return string(b), err
}

// tree puts m under the keys.
func tree(m map[string]any, keys ...string) map[string]any {
	for i := range keys {
		m = map[string]any{keys[len(keys)-1-i]: m}
	}
	return m
}

// merge puts all of b over a, maps member by member. It changes a, and never b.
func merge(a, b map[string]any) {
	for k, v := range b {
		below, isMap := v.(map[string]any)
		if !isMap {
			a[k] = v
			continue
		}
		into, isMap := a[k].(map[string]any)
		if !isMap {
			into = map[string]any{}
			a[k] = into
		}
		merge(into, below)
	}
}
