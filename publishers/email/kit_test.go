package email_test

import (
	"testing"

	"github.com/fresnel-search/fresnel/plugins/plugintest"
	"github.com/fresnel-search/fresnel/plugins/publishertest"
	"github.com/fresnel-search/fresnel/publishers/email"
)

func TestMain(m *testing.M) { publishertest.Main(m, email.Main) }

func TestPublisherKeepsTheContract(t *testing.T) {
	t.Parallel()
	at := func(addr string) plugintest.Destination {
		return plugintest.Destination{
			URI: "smtp://" + addr, Secrets: map[string]string{"secret": "${canary}"},
			Options: map[string]string{"from": "fresnel@example.net", "to": "ops@example.net", "starttls": "off"},
		}
	}
	full, strict := newPost(t), newPost(t)
	full.answer(".", "452 4.3.1 full")
	strict.answer(".", "554 5.6.0 no")
	publishertest.Verify(t, plugintest.Fixtures{Destinations: map[string]plugintest.Destination{
		"ok": at(newPost(t).addr), "transient": at(full.addr), "permanent": at(strict.addr), "hang": at(publishertest.Silent(t)),
	}}, publishertest.NotHTTP)
}
