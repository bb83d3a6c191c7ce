package kafka_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/fresnel-search/fresnel/plugins/plugintest"
	"github.com/fresnel-search/fresnel/plugins/publishertest"
	"github.com/fresnel-search/fresnel/publishers/kafka"
)

func TestMain(m *testing.M) { publishertest.Main(m, kafka.Main) }

func TestPublisherKeepsTheContract(t *testing.T) {
	t.Parallel()
	at := func(addr string) plugintest.Destination {
		return plugintest.Destination{URI: "kafka://" + addr, Secrets: map[string]string{"secret": "${canary}"}}
	}
	publishertest.Verify(t, plugintest.Fixtures{Destinations: map[string]plugintest.Destination{
		"ok":        at(cluster(t).ListenAddrs()[0]),
		"transient": at(publishertest.Nobody(t)),
		"permanent": at(refusing(t, kerr.MessageTooLarge)),
		"hang":      at(publishertest.Silent(t)),
	}}, publishertest.NotHTTP)
}
