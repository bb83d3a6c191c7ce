package kafka

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	keyPartitions     = "partitions"
	keyReplication    = "replication"
	keyPolicy         = "cleanup.policy"
	keyRetention      = "retention.ms"
	keyRetentionBytes = "retention.bytes"
	keyMinInsync      = "min.insync.replicas"
)

// Mismatch is one way in which a topic is not as wanted. Key is empty if it is not there.
type Mismatch struct {
	Topic, Key    string
	Found, Wanted string
	// Remedy is what an operator can do.
	Remedy string
	// Fatal says that going on would break a promise: keys would change partitions,
	// records would vanish, or nothing could be appended. The rest is a warning: it
	// takes a second failure to lose something.
	Fatal bool
}

// Error implements error.
func (m Mismatch) Error() string {
	if m.Key == "" {
		return fmt.Sprintf("topic %s %s; %s", m.Topic, m.Found, m.Remedy)
	}
	return fmt.Sprintf("topic %s: %s is %s, wanted %s; %s", m.Topic, m.Key, m.Found, m.Wanted, m.Remedy)
}

// missing is said of a topic that is not there.
func missing(t Topic) Mismatch {
	return Mismatch{
		Topic: t.Name, Found: "is not there, or this user may not see it", Wanted: "there", Fatal: true,
		Remedy: "it was there at the start, and what it held is lost if somebody deleted it: " +
			"it is made anew when something is appended to it and create_topics is true, or at the next start",
	}
}

// found is what the cluster says about a topic.
type found struct {
	partitions, replicas, brokers int
	settings                      map[string]string // nil: not to be seen by us, or not asked for
}

// compare says in which ways a topic is not as wanted.
func compare(t Topic, f found) (out []Mismatch) {
	add := func(fatal bool, key, is, want, remedy string) {
		out = append(out, Mismatch{Topic: t.Name, Key: key, Found: is, Wanted: want, Remedy: remedy, Fatal: fatal})
	}
	switch is := strconv.Itoa(f.partitions); {
	case t.Least > 0:
		if f.partitions < t.Least {
			add(true, keyPartitions, is, "at least "+strconv.Itoa(t.Least), "add partitions with kafka-topics.sh --alter")
		}
	case t.Partitions > 0 && f.partitions < t.Partitions:
		add(true, keyPartitions, is, strconv.Itoa(t.Partitions),
			"keys are spread over partitions for life: configure "+is+", or delete the topic while Fresnel is stopped")
	case t.Partitions > 0 && f.partitions > t.Partitions:
		add(true, keyPartitions, is, strconv.Itoa(t.Partitions),
			"configure "+is+" if the topic was made with as many; if partitions were added later, keys have moved: delete the topic while Fresnel is stopped")
	}
	if t.Replication == 0 && t.MinInsync == 0 && t.Retention == 0 {
		return out
	}
	if f.settings == nil {
		add(false, "configuration", "hidden from this user", "readable", "allow DescribeConfigs on the topic, else nobody notices wrong settings")
	}
	compareCopies(t, f, add)
	if t.Retention > 0 && f.settings != nil {
		compareRetention(t, f, add)
	}
	return out
}

type adder func(fatal bool, key, is, want, remedy string)

func compareCopies(t Topic, f found, add adder) {
	is := strconv.Itoa(f.replicas)
	switch {
	case t.Replication > 0 && f.replicas < t.Replication:
		add(false, keyReplication, is, strconv.Itoa(t.Replication), "add copies with kafka-reassign-partitions.sh")
	case t.Replication == 0 && f.replicas == 1 && f.brokers > 1:
		add(false, keyReplication, is, "2 or more", "the loss of one broker loses records: add copies with kafka-reassign-partitions.sh")
	}
	insync, err := strconv.Atoi(f.settings[keyMinInsync])
	switch {
	case err != nil:
	case insync > f.replicas:
		add(true, keyMinInsync, strconv.Itoa(insync), "at most the "+is+" copies", "nothing can be appended like this; "+alter(t, keyMinInsync, max(1, t.MinInsync)))
	case insync < t.MinInsync:
		add(false, keyMinInsync, strconv.Itoa(insync), strconv.Itoa(t.MinInsync), alter(t, keyMinInsync, t.MinInsync))
	}
}

func compareRetention(t Topic, f found, add adder) {
	if p := f.settings[keyPolicy]; strings.Contains(p, "compact") {
		add(true, keyPolicy, p, "delete", "compaction drops records that are needed; "+alter(t, keyPolicy, "delete"))
	}
	want := t.Retention.Milliseconds()
	if ms, err := strconv.ParseInt(f.settings[keyRetention], 10, 64); err == nil && ms >= 0 && ms < want {
		add(false, keyRetention, fmt.Sprintf("%d (%s)", ms, time.Duration(ms)*time.Millisecond),
			fmt.Sprintf("%d (%s)", want, t.Retention), alter(t, keyRetention, want))
	}
	if b, err := strconv.ParseInt(f.settings[keyRetentionBytes], 10, 64); err == nil && b >= 0 {
		add(false, keyRetentionBytes, strconv.FormatInt(b, 10), "-1 (no limit)", alter(t, keyRetentionBytes, -1))
	}
}

func alter(t Topic, key string, value any) string {
	return fmt.Sprintf("run kafka-configs.sh --alter --topic %s --add-config %s=%v", t.Name, key, value)
}
