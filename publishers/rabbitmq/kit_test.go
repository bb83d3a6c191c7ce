package rabbitmq_test

import (
	"testing"

	"github.com/fresnel-search/fresnel/plugins/plugintest"
	"github.com/fresnel-search/fresnel/plugins/publishertest"
	"github.com/fresnel-search/fresnel/publishers/rabbitmq"
)

func TestMain(m *testing.M) { publishertest.Main(m, rabbitmq.Main) }

func TestPublisherKeepsTheContract(t *testing.T) {
	t.Parallel()
	at := func(addr string) plugintest.Destination {
		return plugintest.Destination{URI: "amqp://kit@" + addr, Secrets: map[string]string{"secret": "${canary}"}}
	}
	publishertest.Verify(t, plugintest.Fixtures{Destinations: map[string]plugintest.Destination{
		"ok":        at(newBroker(t, nil).addr),
		"transient": at(newBroker(t, func(message) answer { return refused }).addr),
		"permanent": at(newBroker(t, func(message) answer { return tooLarge }).addr),
		"hang":      at(newBroker(t, func(message) answer { return unanswered }).addr),
	}}, publishertest.NotHTTP)
}
