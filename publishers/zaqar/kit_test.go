package zaqar_test

import (
	"testing"

	"github.com/fresnel-search/fresnel/plugins/plugintest"
	"github.com/fresnel-search/fresnel/plugins/publishertest"
	"github.com/fresnel-search/fresnel/publishers/zaqar"
)

func TestMain(m *testing.M) { publishertest.Main(m, zaqar.Main) }

func TestPublisherKeepsTheContract(t *testing.T) {
	t.Parallel()
	publishertest.Verify(t, plugintest.Fixtures{Destination: &plugintest.Destination{
		URI: "zaqar+${endpoint}/${mark}/v2/queues/kit", Options: map[string]string{"auth": "none", "project": "kit"},
		Secrets: map[string]string{"secret": "${canary}"},
	}}, "P9 D11")
}
