package webhook

import (
	"crypto/ed25519"
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
		Err: errors.New("the secret is neither whsec_ nor whsk_ followed by base64 of a key"),
	}
	errBadAuthorization = &sdk.Failure{
		Code: "bad_secret", Final: true, Destination: true, Err: errors.New("the secret authorization cannot be sent as a header"),
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

// sign returns the webhook-signature header: one signature for each of the secrets;
// empty without any.
func sign(secrets []sdk.Secret, m message) (string, error) {
	signatures := make([]string, len(secrets))
	for i, s := range secrets {
		var err error
		if signatures[i], err = m.sign(strings.TrimSpace(string(s.Reveal()))); err != nil {
			return "", err
		}
	}
	return strings.Join(signatures, " "), nil
}

// sign signs with a secret in the form that Standard Webhooks gives it: whsk_ is a
// private key of ed25519, its seed or seed and public key; whsec_, or no prefix, is a
// key that both sides have.
func (m message) sign(secret string) (string, error) {
	text, asymmetric := strings.CutPrefix(secret, "whsk_")
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "whsec_"))
	if err != nil || len(key) == 0 {
		return "", errBadSecret
	}
	if !asymmetric {
		mac := hmac.New(sha256.New, key)
		mac.Write(m.content())
		return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
	}
	if len(key) != ed25519.SeedSize && len(key) != ed25519.PrivateKeySize {
		return "", errBadSecret
	}
	// The seed alone decides: a public key that does not fit it would betray it.
	private := ed25519.NewKeyFromSeed(key[:ed25519.SeedSize])
	return "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(private, m.content())), nil
}

func (m message) content() []byte {
	b := make([]byte, 0, len(m.id)+len(m.timestamp)+len(m.body)+2)
	b = append(append(b, m.id...), '.')
	b = append(append(b, m.timestamp...), '.')
	return append(b, m.body...)
}
