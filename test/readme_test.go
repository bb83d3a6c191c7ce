package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/test/harness"
)

var update = flag.Bool("update", false, "rewrite the example in the README from a delivery")

var (
	readme      = filepath.Join("..", "README.md")
	exampleText = regexp.MustCompile("(?s)(<!-- change -->\n```json\n)(.*?)(```\n<!-- /change -->)")
)

// TestReadmeShowsAChange holds the README's example against the contract.
func TestReadmeShowsAChange(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	m := exampleText.FindSubmatch(text)
	if m == nil {
		t.Fatal("the README has no place for the example")
	}
	c, err := isChange(m[2])
	if err != nil {
		t.Fatalf("the example is no change: %v", err)
	}
	if !showsMuch(c) {
		t.Errorf("the example lacks members: %+v", c)
	}
}

// showsMuch reports whether a change has every member that one may have, but late and
// truncated.
func showsMuch(c change.Change) bool {
	return c.Action == change.Updated && c.Revision > 0 && c.Lineage != "" && c.Project != "" && len(c.Changed) > 0 &&
		len(c.Before) > 0 && len(c.Document) > 0 && c.Resource.Href != "" && c.Cause.Kind == change.ByNotification &&
		c.Cause.EventType != "" && c.Cause.Priority != "" && !c.Cause.Timestamp.IsZero() && c.Cause.MessageID != "" &&
		c.Cause.RequestID != "" && c.Cause.InitiatorUser != "" && c.Cause.InitiatorProject != ""
}

// rewriteExample puts a delivery into the README: a port that was given to a server.
func rewriteExample(ds []harness.Delivery) error {
	i := slices.IndexFunc(ds, func(d harness.Delivery) bool {
		return d.Change.Resource.Type == "OS::Neutron::Port" && slices.Contains(d.Change.Changed, "device_id") && showsMuch(d.Change)
	})
	if i < 0 {
		return errors.New("no delivery is fit for the README")
	}
	var event struct{ Data json.RawMessage }
	var b bytes.Buffer
	if err := json.Unmarshal([]byte(ds[i].Body), &event); err != nil {
		return err
	}
	if err := json.Indent(&b, event.Data, "", "  "); err != nil {
		return err
	}
	text, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	text = exampleText.ReplaceAllFunc(text, func(old []byte) []byte {
		m := exampleText.FindSubmatch(old)
		return slices.Concat(m[1], b.Bytes(), []byte("\n"), m[3])
	})
	return os.WriteFile(readme, text, 0o644)
}
