package sdk_test

import (
	"context"
	"errors"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fresnel-search/fresnel/plugins/sdk"
)

func TestConnectionsOfOtherProtocolsAreGuardedToo(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = new(sdk.Outbound).DialContext(t.Context(), "tcp", l.Addr().String())
	refused, ok := errors.AsType[*sdk.RefusedError](err)
	if !ok || !refused.Addr.IsLoopback() {
		t.Errorf("loopback: %v", err)
	}
	f, ok := errors.AsType[*sdk.Failure](sdk.FromNetwork(err))
	if !ok || f.Code != "address_refused" || !f.Destination || f.Final {
		t.Errorf("outcome %+v", f)
	}
	conn, err := (&sdk.Outbound{Allow: []string{"127.0.0.0/8"}}).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatalf("allowed: %v", err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	f, _ = errors.AsType[*sdk.Failure](sdk.FromNetwork(context.DeadlineExceeded))
	if f == nil || f.Code != "timeout" || !f.Destination {
		t.Errorf("deadline: %+v", f)
	}
}

func TestTLSComesFromSecretsOfWhichNothingIsShown(t *testing.T) {
	srv := httptest.NewTLSServer(nil)
	defer srv.Close()
	for name, secrets := range map[string]map[string]string{
		"no certificate in ca": {"ca": "canary"},
		"a certificate alone":  {"client_cert": "canary"},
		"no pair":              {"client_cert": "canary", "client_key": "canary"},
	} {
		all := map[string]sdk.Secret{}
		for k, v := range secrets {
			all[k] = sdk.NewSecret([]byte(v))
		}
		_, err := sdk.TLS(all)
		f, ok := errors.AsType[*sdk.Failure](err)
		if !ok || !f.Final || !f.Destination || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if conf, err := sdk.TLS(map[string]sdk.Secret{"secret": sdk.NewSecret([]byte("x"))}); conf != nil || err != nil {
		t.Errorf("without any: %v, %v", conf, err)
	}
}
