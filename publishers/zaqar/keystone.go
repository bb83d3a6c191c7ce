package zaqar

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/fresnel-search/fresnel/plugins/sdk"
)

// credentials are what a token is got for.
type credentials struct {
	options Options
	secret  sdk.Secret
	do      sender
}

// token is a token of Keystone.
type token struct {
	value   sdk.Secret
	project string    // that it is for
	renew   time.Time // when another one should be got
}

// tokens keeps the tokens of destinations for as long as they live. It is safe for
// concurrent use; of several who need a token one gets it, and the others wait.
type tokens struct {
	mu   sync.Mutex
	kept map[string]*kept // by the destination's key
}

// kept is the token of one destination. Who holds the turn may use the rest.
type kept struct {
	turn  chan struct{}
	token token
}

func newTokens() *tokens { return &tokens{kept: map[string]*kept{}} }

// get returns the destination's token, a new one if there is none, it is about to
// expire, or it is the one that was refused.
func (ts *tokens) get(ctx context.Context, key string, c credentials, refused sdk.Secret) (token, error) {
	k := ts.of(key)
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return token{}, ctx.Err()
	}
	if time.Now().Before(k.token.renew) && !bytes.Equal(k.token.value.Reveal(), refused.Reveal()) {
		return k.token, nil
	}
	t, err := c.login(ctx)
	if err == nil {
		k.token = t
	}
	return t, err
}

// of returns the place of a destination's token. Destinations come and go, so places
// are made anew when there are very many.
func (ts *tokens) of(key string) *kept {
	const most = 10_000
	ts.mu.Lock()
	defer ts.mu.Unlock()
	k := ts.kept[key]
	if k == nil {
		if len(ts.kept) >= most {
			clear(ts.kept)
		}
		k = &kept{turn: make(chan struct{}, 1)}
		ts.kept[key] = k
	}
	return k
}

// login gets a token from Keystone. Whatever goes wrong speaks for the destination, and
// none of it for a single delivery.
func (c credentials) login(ctx context.Context) (token, error) {
	body, err := json.Marshal(map[string]any{"auth": c.request()})
	if err != nil {
		return token{}, err
	}
	url := strings.TrimSuffix(c.options.AuthURL, "/") + "/auth/tokens?nocatalog"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return token{}, keystoneFailure("address", errors.New("auth_url is no URL"))
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	resp, err := c.do(req)
	if err != nil || resp.StatusCode != http.StatusCreated {
		var f *sdk.Failure
		if !errors.As(sdk.FromHTTP(resp, err), &f) {
			return token{}, keystoneFailure("answer", errors.New("it gives no token"))
		}
		failure := keystoneFailure(f.Code, f.Err)
		failure.After, failure.Final = f.After, err != nil && f.Final // never sent, and never will be
		return token{}, failure
	}
	t, err := readToken(resp)
	if err != nil {
		return token{}, keystoneFailure("answer", err)
	}
	return t, nil
}

// keystoneFailure is a failure to get a token: all deliveries of the destination wait.
func keystoneFailure(code string, err error) *sdk.Failure {
	return &sdk.Failure{Code: "keystone_" + code, Destination: true, Err: errors.New("Keystone: " + err.Error())}
}

func (c credentials) request() map[string]any {
	o, secret := c.options, string(c.secret.Reveal())
	if o.ApplicationCredential != "" {
		return map[string]any{"identity": map[string]any{
			"methods":                []string{"application_credential"},
			"application_credential": map[string]any{"id": o.ApplicationCredential, "secret": secret},
		}}
	}
	domain := o.UserDomain
	if domain == "" {
		domain = "Default"
	}
	return map[string]any{
		"identity": map[string]any{
			"methods": []string{"password"},
			"password": map[string]any{"user": map[string]any{
				"name": o.Username, "domain": map[string]any{"name": domain}, "password": secret,
			}},
		},
		"scope": map[string]any{"project": map[string]any{"id": o.Project}},
	}
}

// readToken reads the answer to a login. A token is used until shortly before it
// expires.
func readToken(resp *http.Response) (token, error) {
	const most, early = 1 << 20, 30 * time.Second
	raw, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return token{}, errors.New("its answer broke off")
	}
	var answer struct {
		Token struct {
			Expires time.Time `json:"expires_at"`
			Project struct {
				ID string `json:"id"`
			} `json:"project"`
		} `json:"token"`
	}
	value := resp.Header.Get("X-Subject-Token")
	if json.Unmarshal(raw, &answer) != nil || value == "" || answer.Token.Project.ID == "" {
		return token{}, errors.New("it gives no token for a project")
	}
	left := time.Until(answer.Token.Expires)
	return token{
		value: sdk.NewSecret([]byte(value)), project: answer.Token.Project.ID,
		renew: answer.Token.Expires.Add(-min(early, left/2)),
	}, nil
}
