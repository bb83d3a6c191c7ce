//go:build real

package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	segmentio "github.com/segmentio/kafka-go"

	"github.com/fresnel-search/fresnel/configs/secret"
	"github.com/fresnel-search/fresnel/listener/kafka"
	"github.com/fresnel-search/fresnel/listener/stream"
)

// One cluster serves all of this: first what leaves it whole, side by side, then the
// faults, one after the other.
func TestRealKafka(t *testing.T) {
	c := startCluster(t)
	t.Run("log-ins and certificates work", c.testLogins)
	t.Run("whole", func(t *testing.T) {
		beside(t, map[string]func(*testing.T){
			"wrong log-ins are errors in words":                      c.testWrongLogins,
			"topics are checked":                                     c.testTopicChecks,
			"a rebalance storm idles no partition":                   c.testStorm,
			"a rolling restart loses nothing":                        c.testRollingRestart,
			"topics that come, grow and are made anew are picked up": c.testTopicsComeAndGo,
		})
	})
	t.Run("broken", c.testBrokenBrokers)
}

// beside runs tests at once, also on a machine with few processors: they mostly wait.
func beside(t *testing.T, tests map[string]func(*testing.T)) {
	t.Helper()
	var wg sync.WaitGroup
	for name, test := range tests {
		wg.Go(func() { t.Run(name, test) })
	}
	wg.Wait()
}

const password = "fresnel-pass"

func (c *realCluster) login(mechanism, password string) func(*kafka.Config) {
	return func(cfg *kafka.Config) {
		cfg.Brokers = c.brokers("KAFKA_SASL_SSL")
		cfg.TLS = kafka.TLS{Enabled: true, CAFile: c.env["KAFKA_CA"]}
		cfg.SASL = kafka.SASL{Mechanism: mechanism, Username: "fresnel", Password: secret.New(password)}
	}
}

func (c *realCluster) certificate(cfg *kafka.Config) {
	cfg.Brokers = c.brokers("KAFKA_SSL")
	cfg.TLS = kafka.TLS{Enabled: true, CAFile: c.env["KAFKA_CA"], CertFile: c.env["KAFKA_CLIENT_CERT"], KeyFile: c.env["KAFKA_CLIENT_KEY"]}
}

func (c *realCluster) testLogins(t *testing.T) {
	tests := map[string]func(*testing.T){}
	for name, how := range map[string]func(*kafka.Config){
		"plain": c.login("plain", password), "scram-sha-256": c.login("scram-sha-256", password),
		"scram-sha-512": c.login("scram-sha-512", password), "certificate": c.certificate,
	} {
		tests[name] = func(t *testing.T) {
			k := c.client(t, testLog, how)
			topic := "login-" + name
			if err := k.EnsureTopics(t.Context(), kafka.Topic{Name: topic, Partitions: 2, Replication: 3, MinInsync: 2, Retention: 24 * time.Hour}); err != nil {
				t.Fatal(err)
			}
			if err := k.TopicWarnings(t.Context()); err != nil {
				t.Errorf("a topic just made is not as wanted: %v", err)
			}
			produce(t, k, numbered(topic, 0, 100)...)
			var s seen
			consume(t, k, named("g-"+name, topic), s.handler())
			eventually(t, 6*time.Second, "all read", func() bool { return s.distinct() == 100 })
			eventually(t, 6*time.Second, "all committed", func() bool {
				lag, err := k.Lag(t.Context(), "g-"+name, topic)
				return err == nil && len(lag) == 2 && lag[stream.Partition{Topic: topic}] == 0 && lag[stream.Partition{Topic: topic, ID: 1}] == 0
			})
		}
	}
	beside(t, tests)
}

func (c *realCluster) testWrongLogins(t *testing.T) {
	change := func(f, g func(*kafka.Config)) func(*kafka.Config) {
		return func(cfg *kafka.Config) { f(cfg); g(cfg) }
	}
	tests := map[string]func(*testing.T){}
	for name, tc := range map[string]struct {
		how  func(*kafka.Config)
		want string
	}{
		"plain, wrong password":         {c.login("plain", "not-it"), "check sasl.username and sasl.password"},
		"scram-sha-256, wrong password": {c.login("scram-sha-256", "not-it"), "check sasl.username and sasl.password"},
		"scram-sha-512, wrong password": {c.login("scram-sha-512", "not-it"), "check sasl.username and sasl.password"},
		"no certificate": {change(c.certificate, func(cfg *kafka.Config) {
			cfg.TLS.CertFile, cfg.TLS.KeyFile = "", ""
		}), "check tls.cert_file"},
		"another authority": {change(c.certificate, func(cfg *kafka.Config) { cfg.TLS.CAFile = "" }), "check tls.ca_file"},
		"another name": {change(c.certificate, func(cfg *kafka.Config) {
			cfg.TLS.ServerName = "kafka.example.net"
		}), "tls.server_name"},
		"no TLS": {func(cfg *kafka.Config) { cfg.Brokers = c.brokers("KAFKA_SSL") }, "check that tls.enabled"},
		"no log-in": {func(cfg *kafka.Config) {
			cfg.Brokers = c.brokers("KAFKA_SASL_SSL")
			cfg.TLS = kafka.TLS{Enabled: true, CAFile: c.env["KAFKA_CA"]}
		}, "sasl.mechanism"},
		"a log-in where there is none": {change(c.login("scram-sha-256", password), func(cfg *kafka.Config) {
			cfg.Brokers = c.brokers("KAFKA_SSL")
			cfg.TLS.CertFile, cfg.TLS.KeyFile = c.env["KAFKA_CLIENT_CERT"], c.env["KAFKA_CLIENT_KEY"]
		}), "check sasl.mechanism"},
	} {
		tests[name] = func(t *testing.T) {
			log, loud := newLoudLog()
			k := c.client(t, log, tc.how)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			began := time.Now()
			err := k.EnsureTopics(ctx, kafka.Topic{Name: "never", Partitions: 1})
			if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "broker 127.0.0.1:") {
				t.Errorf("EnsureTopics = %v after %s, want %q and the broker", err, time.Since(began), tc.want)
			}
			if all := fmt.Sprint(err, loud.all()); strings.Contains(all, password) || strings.Contains(all, "not-it") {
				t.Errorf("the password is shown: %s", all)
			}
		}
	}
	beside(t, tests)
}

func (c *realCluster) testTopicChecks(t *testing.T) {
	k := c.client(t, testLog)
	for name, tc := range map[string]struct {
		partitions, replicas int
		settings             map[string]string
		fatal, warning       string
	}{
		"insync":    {2, 3, map[string]string{"min.insync.replicas": "1"}, "", "min.insync.replicas is 1, wanted 2"},
		"retention": {2, 3, map[string]string{"retention.ms": "3600000"}, "", "retention.ms is 3600000 (1h0m0s), wanted 86400000"},
		"copies":    {2, 1, map[string]string{"min.insync.replicas": "1"}, "", "replication is 1, wanted 3"},
		"few":       {1, 3, nil, "partitions is 1, wanted 2", ""},
		"compacted": {2, 3, map[string]string{"cleanup.policy": "compact"}, "cleanup.policy is compact, wanted delete", ""},
		"unwritten": {2, 1, map[string]string{"min.insync.replicas": "2"}, "nothing can be appended", ""},
	} {
		t.Run(name, func(t *testing.T) {
			topic := "check-" + name
			tc2 := segmentio.TopicConfig{Topic: topic, NumPartitions: tc.partitions, ReplicationFactor: tc.replicas}
			for key, v := range tc.settings {
				tc2.ConfigEntries = append(tc2.ConfigEntries, segmentio.ConfigEntry{ConfigName: key, ConfigValue: v})
			}
			c.create(t, tc2)
			err := k.EnsureTopics(t.Context(), kafka.Topic{Name: topic, Partitions: 2, Replication: 3, MinInsync: 2, Retention: 24 * time.Hour})
			switch warned := fmt.Sprint(k.TopicWarnings(t.Context())); {
			case tc.fatal != "" && (err == nil || !strings.Contains(err.Error(), tc.fatal)):
				t.Errorf("EnsureTopics = %v, want %q", err, tc.fatal)
			case tc.fatal == "" && err != nil:
				t.Errorf("EnsureTopics = %v, want only a warning", err)
			case !strings.Contains(warned, tc.warning):
				t.Errorf("TopicWarnings = %s, want %q", warned, tc.warning)
			}
		})
	}
}

func (c *realCluster) create(t *testing.T, topic segmentio.TopicConfig) {
	t.Helper()
	res, err := c.admin.CreateTopics(t.Context(), &segmentio.CreateTopicsRequest{Topics: []segmentio.TopicConfig{topic}})
	if err == nil {
		err = res.Errors[topic.Topic]
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (c *realCluster) remove(t *testing.T, topic string) {
	t.Helper()
	res, err := c.admin.DeleteTopics(t.Context(), &segmentio.DeleteTopicsRequest{Topics: []string{topic}})
	if err == nil {
		err = res.Errors[topic]
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Ten joins and leaves in a minute.
func (c *realCluster) testStorm(t *testing.T) {
	f := c.startFlow(t, "storm", 4)
	join := func() func() { return consume(t, c.client(t, testLog), named("storm", "storm"), f.handler()) }
	join()
	f.flows(t, time.Minute, 1)
	f.pauses()
	tick := time.NewTicker(6 * time.Second)
	defer tick.Stop()
	var leave []func()
	for i := range 10 {
		<-tick.C
		if i%4 < 2 {
			leave = append(leave, join())
		} else {
			leave[0]()
			leave = leave[1:]
		}
	}
	f.flows(t, time.Minute, 5)
	p := f.pauses()
	t.Logf("longest pauses: %v", p)
	if longest(p) > 10*time.Second || len(p) != 4 {
		t.Errorf("pauses %v, want each of 4 partitions within 10s", p)
	}
	f.account(t)
}

// Each of two members is stopped and started again once.
func (c *realCluster) testRollingRestart(t *testing.T) {
	f := c.startFlow(t, "rolling", 4)
	join := func() func() { return consume(t, c.client(t, testLog), named("rolling", "rolling"), f.handler()) }
	leave1, leave2 := join(), join()
	f.flows(t, time.Minute, 20)
	f.pauses()
	for _, leave := range []func(){leave1, leave2} {
		leave()
		<-time.After(2 * time.Second) // a process starts
		join()
		f.flows(t, time.Minute, 50)
	}
	p := f.pauses()
	t.Logf("longest pauses: %v", p)
	if longest(p) > 10*time.Second || len(p) != 4 {
		t.Errorf("pauses %v, want each of 4 partitions within 10s", p)
	}
	f.account(t)
}

func (c *realCluster) testTopicsComeAndGo(t *testing.T) {
	k := c.client(t, testLog)
	var s seen
	assigned := make(chan stream.Assignment, 100)
	cfg := matching("come", `^come\.`)
	cfg.Topics = []string{"anew"} // missing at first
	consume(t, k, cfg, func(a stream.Assignment) stream.Handler {
		assigned <- a
		return always(func(_ context.Context, b stream.Batch) (string, error) {
			s.add(b)
			return "tally", nil
		})(a)
	})
	within := func(what, value string, p stream.Partition) {
		t.Helper()
		began := time.Now()
		err := errors.New("not tried")
		for err != nil && time.Since(began) < 10*time.Second { // the cluster may not know it yet
			err = k.Produce(t.Context(), []stream.Record{{Topic: p.Topic, Partition: p.ID, Value: []byte(value)}})
		}
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, 10*time.Second, what, func() bool { return slices.Contains(s.all(), value) })
		took := time.Since(began)
		if t.Logf("%s after %s", what, took.Round(10*time.Millisecond)); took > 10*time.Second {
			t.Errorf("%s after %s, want 10s at most", what, took)
		}
	}
	one := func(name string) segmentio.TopicConfig {
		return segmentio.TopicConfig{Topic: name, NumPartitions: 1, ReplicationFactor: 3}
	}
	c.create(t, one("anew"))
	within("a missing topic is read", "first", stream.Partition{Topic: "anew"})
	c.create(t, one("come.later"))
	within("a topic of the pattern is read", "later", stream.Partition{Topic: "come.later"})
	res, err := c.admin.CreatePartitions(t.Context(), &segmentio.CreatePartitionsRequest{Topics: []segmentio.TopicPartitionsConfig{{Name: "come.later", Count: 2}}})
	if err != nil || res.Errors["come.later"] != nil {
		t.Fatal(err, res)
	}
	within("a new partition is read", "grown", stream.Partition{Topic: "come.later", ID: 1})
	for i := range 20 {
		produce(t, k, stream.Record{Topic: "anew", Partition: 0, Value: fmt.Append(nil, "old", i)})
	}
	eventually(t, 5*time.Second, "all of the old log committed", func() bool {
		_, end, err := k.Bounds(t.Context(), stream.Partition{Topic: "anew"})
		return err == nil && end > 20 && committed(t, k, "come")[stream.Partition{Topic: "anew"}].Offset == end
	})
	c.remove(t, "anew")
	for len(assigned) > 0 {
		<-assigned
	}
	eventually(t, 5*time.Second, "made anew", func() bool {
		res, err := c.admin.CreateTopics(t.Context(), &segmentio.CreateTopicsRequest{Topics: []segmentio.TopicConfig{one("anew")}})
		return err == nil && res.Errors["anew"] == nil
	})
	within("a topic made anew is read", "renewed", stream.Partition{Topic: "anew"})
	for a := range assigned {
		if a.Topic != "anew" {
			continue
		}
		if t.Logf("assignment: %+v", a); !a.Renewed && a.Metadata != "" || a.Offset != 0 {
			t.Errorf("assignment %+v does not tell that the log is another one", a)
		}
		break
	}
}
