package zaqar

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/fresnel-search/fresnel/plugins/sdk"
)

// schemePrefix stands before http or https in the URI of a queue.
const schemePrefix = "zaqar+"

// The ways to be let in.
const (
	authNone     = "none"     // Zaqar believes X-Project-ID: auth_strategy is empty
	authKeystone = "keystone" // with a token of Keystone, got for a user or an application credential
	authSigned   = "signed"   // with a pre-signed URL, as POST .../share answers
)

// Options are the options of a destination. The secret named "secret" is the password,
// the secret of the application credential, or for signed the JSON that Zaqar answered
// to POST /v2/queues/NAME/share. The secrets ca, client_cert and client_key are for
// Zaqar and Keystone both.
type Options struct {
	Auth string `json:"auth" doc:"none, keystone or signed"`
	// Project is the id of the project that the queue belongs to.
	Project string `json:"project,omitempty" doc:"id of the project that the queue belongs to; not needed where the secret says it"`
	// ClientID is the UUID under which messages are posted: Zaqar does not show a
	// client its own messages.
	ClientID string `json:"client_id,omitempty" doc:"UUID under which messages are posted; one is made up if not given"`

	AuthURL               string `json:"auth_url,omitempty" doc:"of Keystone, such as https://keystone.example.net/v3"`
	Username              string `json:"username,omitempty" doc:"of the user whose password is the secret"`
	UserDomain            string `json:"user_domain,omitempty" doc:"name of the user's domain; Default if not given"`
	ApplicationCredential string `json:"application_credential,omitempty" doc:"id of the application credential whose secret is the secret"`
}

// Validate reports options that are missing or do not go together.
func (o *Options) Validate() error {
	var errs []error
	keystone := o.AuthURL != "" || o.Username != "" || o.UserDomain != "" || o.ApplicationCredential != ""
	switch o.Auth {
	case authNone, authSigned:
		if keystone {
			errs = append(errs, errors.New("auth_url, username, user_domain and application_credential are for auth keystone"))
		}
		if o.Auth == authNone && o.Project == "" {
			errs = append(errs, errors.New("project: required with auth none"))
		}
	case authKeystone:
		errs = append(errs, o.validateKeystone())
	default:
		errs = append(errs, errors.New("auth: must be none, keystone or signed"))
	}
	if o.Project != "" && !regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`).MatchString(o.Project) {
		errs = append(errs, errors.New("project: is not the id of a project: letters, digits, dashes and underscores, at most 64"))
	}
	if o.ClientID != "" && uuid.Validate(o.ClientID) != nil {
		errs = append(errs, errors.New("client_id: is no UUID"))
	}
	return errors.Join(errs...)
}

func (o *Options) validateKeystone() error {
	var errs []error
	if u, err := url.Parse(o.AuthURL); err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		errs = append(errs, errors.New("auth_url: must be a URL such as https://keystone.example.net/v3"))
	}
	if (o.Username == "") == (o.ApplicationCredential == "") {
		errs = append(errs, errors.New("auth keystone needs either username or application_credential"))
	}
	if o.Username != "" && o.Project == "" {
		errs = append(errs, errors.New("project: required with a username"))
	}
	return errors.Join(errs...)
}

// sender makes a request; its results are for sdk.FromHTTP.
type sender func(*http.Request) (*http.Response, error)

// queue is a queue that may be posted to.
type queue struct {
	url     string // of its messages
	project string // that it belongs to
	header  http.Header
	signed  bool
	renew   func(context.Context) error // gets a new token; nil if none is used
	do      sender
}

// open gets everything ready to post to a destination.
func (p *publisher) open(ctx context.Context, d *sdk.Destination[Options], do sender) (*queue, error) {
	base, path, err := parse(d.URI)
	if err != nil {
		return nil, err
	}
	q := &queue{url: base + path, project: d.Options.Project, do: do}
	q.header = http.Header{
		"Accept": {"application/json"}, "Content-Type": {"application/json"}, "User-Agent": {"Fresnel"},
		"Client-Id": {clientID(d)},
	}
	switch d.Options.Auth {
	case authKeystone:
		err = p.withToken(ctx, q, d)
	case authSigned:
		err = q.sign(d.Secrets["secret"], path, time.Now())
	}
	if err != nil {
		return nil, err
	}
	q.header["X-Project-Id"] = []string{q.project}
	return q, nil
}

// withToken lets the queue be used with a token of Keystone, whose project is the
// queue's: Zaqar goes by the token and by nothing else.
func (p *publisher) withToken(ctx context.Context, q *queue, d *sdk.Destination[Options]) error {
	set := func(t token) error {
		if q.project != "" && t.project != q.project {
			return &sdk.Failure{Code: "foreign_token", Destination: true, Err: errors.New("the token of Keystone is of another project than the queue")}
		}
		q.project = t.project
		q.header["X-Auth-Token"] = []string{string(t.value.Reveal())}
		return nil
	}
	login := credentials{options: d.Options, secret: d.Secrets["secret"], do: q.do}
	t, err := p.tokens.get(ctx, d.Key(), login, sdk.Secret{})
	if err != nil {
		return err
	}
	q.renew = func(ctx context.Context) error {
		fresh, err := p.tokens.get(ctx, d.Key(), login, t.value)
		if err != nil {
			return err
		}
		return set(fresh)
	}
	return set(t)
}

// share is what Zaqar answers to POST /v2/queues/NAME/share.
type share struct {
	Paths     []string `json:"paths"`
	Methods   []string `json:"methods"`
	Project   string   `json:"project"`
	Expires   string   `json:"expires"`
	Signature string   `json:"signature"`
}

// sign lets the queue be used with a pre-signed URL. What can be seen to be of no use
// is not sent.
func (q *queue) sign(secret sdk.Secret, path string, now time.Time) error {
	bad := func(code, why string) error {
		return &sdk.Failure{Code: code, Final: true, Destination: true, Err: errors.New("pre-signed URL: " + why)}
	}
	var s share
	if json.Unmarshal(secret.Reveal(), &s) != nil || s.Signature == "" || s.Project == "" {
		return bad("bad_secret", "the secret is not what Zaqar answers to POST /v2/queues/NAME/share")
	}
	expires, err := time.Parse("2006-01-02T15:04:05", s.Expires)
	switch {
	case err != nil:
		return bad("bad_secret", "its expires is no time")
	case q.project != "" && q.project != s.Project:
		return bad("foreign_token", "it is of another project than the queue")
	case !slices.Contains(s.Methods, http.MethodPost) || !slices.Contains(s.Paths, path):
		return bad("bad_secret", "it does not allow to POST messages to this queue")
	case !now.Before(expires):
		return bad("signature_expired", "it has expired; share the queue again")
	}
	q.project, q.signed = s.Project, true
	q.header["Url-Signature"] = []string{s.Signature}
	q.header["Url-Expires"] = []string{s.Expires}
	q.header["Url-Methods"] = []string{strings.Join(s.Methods, ",")}
	q.header["Url-Paths"] = []string{strings.Join(s.Paths, ",")}
	return nil
}

func errBadURL() error {
	return &sdk.Failure{
		Code: "bad_destination", Final: true, Destination: true,
		Err: fmt.Errorf("the destination is not of the form %shttps://host:8888/v2/queues/NAME", schemePrefix),
	}
}

// queuePath is the path of a queue below Zaqar's own address, with or without its
// messages.
var queuePath = regexp.MustCompile(`^(.*)(/v2/queues/[A-Za-z0-9_.-]{1,64})(/messages)?/?$`)

// parse takes the URI of a queue apart: Zaqar's address, and the path of the queue's
// messages as Zaqar knows it.
func parse(uri string) (base, path string, err error) {
	u, err := url.Parse(uri)
	if err != nil || !strings.HasPrefix(u.Scheme, schemePrefix) || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", "", errBadURL()
	}
	parts := queuePath.FindStringSubmatch(u.EscapedPath())
	// What lies between may resolve dots, and then it is another place.
	dots := func(part string) bool { return part == "." || part == ".." }
	if parts == nil || slices.ContainsFunc(strings.Split(u.Path, "/"), dots) {
		return "", "", errBadURL()
	}
	return strings.TrimPrefix(u.Scheme, schemePrefix) + "://" + u.Host + parts[1], parts[2] + "/messages", nil
}

// clientID is the UUID that a destination posts under: its own, or always the same one
// for a subscription.
func clientID(d *sdk.Destination[Options]) string {
	if d.Options.ClientID != "" {
		return d.Options.ClientID
	}
	const version = 5
	return uuid.NewHash(sha256.New(), uuid.NameSpaceURL, []byte("fresnel:"+d.Subscription), version).String()
}
