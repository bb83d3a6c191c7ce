// Package publisherv1 is version 1 of the contract between Fresnel and its publisher
// plugins: publisher.proto, the Go code generated from it, and the handshake by which
// a host and a plugin recognise each other.
//
// It holds no behaviour: authors of plugins use plugins/sdk, hosts plugins/client, and
// other languages need the .proto file and the constants below. Its invariant: fields
// and methods are only ever added; any other change is a publisherv2 beside it.
package publisherv1

// The handshake of go-plugin. A plugin started without the cookie in its environment
// says what it is and exits; the cookie is for people, it protects nothing.
const (
	CookieKey   = "FRESNEL_PUBLISHER"
	CookieValue = "fresnel-publisher"
	// ProtocolVersion is the major version that a plugin prints in its handshake line.
	ProtocolVersion = 1
	// PluginName is the name under which go-plugin dispenses the publisher.
	PluginName = "publisher"
	// LogLevelKey is the environment variable that carries the host's log level to
	// the plugin: debug, info, warn or error.
	LogLevelKey = "FRESNEL_LOG_LEVEL"
)
