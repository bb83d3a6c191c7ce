package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/fresnel-search/fresnel/plugins/sdk"
)

var (
	errBadURL = &sdk.Failure{
		Code: "bad_destination", Final: true, Destination: true, Err: errors.New("the destination is not a URL"),
	}
	errBadSecret = &sdk.Failure{
		Code: "bad_secret", Final: true, Destination: true,
		Err: errors.New("the secret is not whsec_ followed by base64"),
	}
	errNoSecret = &sdk.Failure{
		Code: "no_secret", Final: true, Destination: true,
		Err: errors.New("the destination has no secret and require_secret is set"),
	}
)

// message is what a signature covers.
type message struct {
	id, timestamp string
	body          []byte
}

// sign returns the webhook-signature header: one signature for the secret named
// "secret" and, while keys are rotated, one for "previous_secret"; empty without any.
func sign(secrets map[string]sdk.Secret, m message) (string, error) {
	var signatures []string
	for _, name := range []string{"secret", "previous_secret"} {
		s := secrets[name]
		if s.Empty() {
			continue
		}
		key, err := decodeSecret(string(s.Reveal()))
		if err != nil {
			return "", err
		}
		mac := hmac.New(sha256.New, key)
		for _, part := range [][]byte{[]byte(m.id), []byte("."), []byte(m.timestamp), []byte("."), m.body} {
			mac.Write(part)
		}
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(signatures, " "), nil
}

// decodeSecret takes the form that Standard Webhooks gives secrets, with or without
// its prefix.
func decodeSecret(text string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(strings.TrimSpace(text), "whsec_"))
	if err != nil || len(key) == 0 {
		return nil, errBadSecret
	}
	return key, nil
}
