package websub_test

import (
	"testing"

	"github.com/fresnel-search/fresnel/plugins/plugintest"
	"github.com/fresnel-search/fresnel/plugins/publishertest"
	"github.com/fresnel-search/fresnel/publishers/websub"
)

func TestMain(m *testing.M) { publishertest.Main(m, websub.Main) }

func TestPublisherKeepsTheContract(t *testing.T) {
	t.Parallel()
	publishertest.Verify(t, plugintest.Fixtures{Destination: &plugintest.Destination{
		URI: "websub+${endpoint}/${mark}", Secrets: map[string]string{"topic": "https://search.example.net/events/${canary}"},
	}}, "P9 D11")
}
