package listener

import (
	"strings"

	"github.com/fresnel-search/fresnel/listener/stream"
)

// Hold reports whether a partition must wait because too many mutations do, so that
// a record of high priority never stands behind a backlog of lower ones. A consumer
// asks before it reads on. Topics of priority warn, error and critical never wait.
func (l *Listener) Hold(p stream.Partition) bool {
	if l.deps.MutationLag == nil || urgent(p.Topic) {
		return false
	}
	// Records at hand are mutations soon.
	return l.deps.MutationLag()+l.inFlight.Load() > l.config.ThrottleAbove
}

// urgent reports whether the topic's name says that its priority is warn or higher.
func urgent(topic string) bool {
	_, rest, _ := strings.Cut(topic, ".")
	for part := range strings.SplitSeq(rest, ".") {
		switch part {
		case "warn", "error", "critical":
			return true
		}
	}
	return false
}
