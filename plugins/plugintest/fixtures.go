package plugintest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
)

// Fixtures say what to configure the plugin with and where it may deliver to.
//
// In all strings ${endpoint} stands for the URL of the kit's own endpoint, ${mark} for
// twelve digits by which the endpoint knows what to answer, wherever in a request it
// finds them, and ${canary} for a secret that must show nowhere.
type Fixtures struct {
	// Config is the plugin's configuration; {} if empty. The kit adds the member
	// outbound, as the host does, if the plugin's schema has it.
	Config json.RawMessage `json:"config,omitempty"`
	// Destination describes destinations that lead to the kit's endpoint. Plugins that
	// serve http or https get one with the URI ${endpoint}/${mark}.
	Destination *Destination `json:"destination,omitempty"`
	// Destinations are real ones, for plugins that do not speak HTTP. They are named
	// ok, transient (fails for now), permanent (refuses a delivery) and hang (takes
	// longer than any deadline).
	Destinations map[string]Destination `json:"destinations,omitempty"`
}

// Destination is where the kit has the plugin deliver to.
type Destination struct {
	URI     string            `json:"uri"`
	Options map[string]string `json:"options,omitempty"`
	Secrets map[string]string `json:"secrets,omitempty"`
}

// ReadFixtures reads fixtures from a file of JSON.
func ReadFixtures(path string) (Fixtures, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Fixtures{}, err
	}
	f, err := ParseFixtures(text)
	if err != nil {
		return Fixtures{}, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// ParseFixtures reads fixtures from JSON.
func ParseFixtures(text []byte) (f Fixtures, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return Fixtures{}, err
	}
	for name := range f.Destinations {
		switch name {
		case "ok", "transient", "permanent", "hang":
		default:
			return Fixtures{}, fmt.Errorf("destinations.%s: there are ok, transient, permanent and hang", name)
		}
	}
	return f, nil
}
