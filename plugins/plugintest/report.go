package plugintest

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"
)

// Status is what came of a check.
type Status string

// The outcomes of a check. Warned is a check of level SHOULD that failed.
const (
	Passed  Status = "passed"
	Failed  Status = "failed"
	Warned  Status = "warned"
	Skipped Status = "skipped"
)

// Result is what came of one check.
type Result struct {
	ID     string
	Level  Level
	Title  string
	Status Status
	// Detail is the evidence of a check that passed, else what is wrong or why it was
	// skipped.
	Detail string
	Took   time.Duration
}

// Plugin is what was verified.
type Plugin struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Path    string `json:"path"`
	SHA256  string `json:"sha256"`
}

// Report is what came of a verification.
type Report struct {
	Kit      string // Version
	Protocol int    // of the contract
	Plugin   Plugin
	Started  time.Time
	Took     time.Duration
	Checks   []Result
	Counts   map[Status]int
}

func (r *Report) count() {
	r.Counts = map[Status]int{Passed: 0, Failed: 0, Warned: 0, Skipped: 0}
	for _, c := range r.Checks {
		r.Counts[c.Status]++
	}
}

// Passed reports whether the plugin is fit for the host: no check of level MUST has
// failed, and some have passed.
func (r *Report) Passed() bool { return r.Counts[Failed] == 0 && r.Counts[Passed] > 0 }

// MarshalJSON returns the report for machines; times are in milliseconds.
func (r *Report) MarshalJSON() ([]byte, error) {
	type result struct {
		ID     string `json:"id"`
		Level  Level  `json:"level"`
		Title  string `json:"title"`
		Status Status `json:"status"`
		Detail string `json:"detail"`
		Took   int64  `json:"took_ms"`
	}
	results := make([]result, len(r.Checks))
	for i, c := range r.Checks {
		results[i] = result{c.ID, c.Level, c.Title, c.Status, c.Detail, c.Took.Milliseconds()}
	}
	return json.Marshal(struct {
		Passed   bool           `json:"passed"`
		Plugin   Plugin         `json:"plugin"`
		Kit      string         `json:"kit"`
		Protocol int            `json:"protocol"`
		Started  time.Time      `json:"started"`
		Took     int64          `json:"took_ms"`
		Counts   map[Status]int `json:"counts"`
		Checks   []result       `json:"checks"`
	}{r.Passed(), r.Plugin, r.Kit, r.Protocol, r.Started, r.Took.Milliseconds(), r.Counts, results})
}

// WriteJUnit writes the report in the form that systems for continuous integration
// read: a test suite with a case for each check. Warnings are the output of cases
// that passed.
func (r *Report) WriteJUnit(w io.Writer) error {
	type message struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
	type testcase struct {
		Name    string   `xml:"name,attr"`
		Class   string   `xml:"classname,attr"`
		Seconds string   `xml:"time,attr"`
		Failure *message `xml:"failure"`
		Skipped *message `xml:"skipped"`
		Out     string   `xml:"system-out,omitempty"`
	}
	type property struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	type suite struct {
		XMLName    xml.Name   `xml:"testsuite"`
		Name       string     `xml:"name,attr"`
		Tests      int        `xml:"tests,attr"`
		Failures   int        `xml:"failures,attr"`
		Errors     int        `xml:"errors,attr"`
		Skipped    int        `xml:"skipped,attr"`
		Seconds    string     `xml:"time,attr"`
		Timestamp  string     `xml:"timestamp,attr"`
		Properties []property `xml:"properties>property"`
		Cases      []testcase `xml:"testcase"`
	}
	name := r.Plugin.Name
	if name == "" {
		name = filepath.Base(r.Plugin.Path)
	}
	s := suite{
		Name: "fresnel publisher plugin " + name, Tests: len(r.Checks), Failures: r.Counts[Failed], Skipped: r.Counts[Skipped],
		Seconds: seconds(r.Took), Timestamp: r.Started.Format("2006-01-02T15:04:05"),
		Properties: []property{
			{"plugin.version", r.Plugin.Version},
			{"plugin.sha256", r.Plugin.SHA256},
			{"kit", r.Kit},
			{"protocol", fmt.Sprint(r.Protocol)},
		},
	}
	for _, c := range r.Checks {
		tc := testcase{Name: c.ID + " " + c.Title, Class: name + "." + string(c.Level), Seconds: seconds(c.Took)}
		switch c.Status {
		case Failed:
			tc.Failure = &message{c.Title, c.Detail}
		case Skipped:
			tc.Skipped = &message{c.Detail, ""}
		case Warned:
			tc.Out = "warning: " + c.Detail
		case Passed:
			tc.Out = c.Detail
		}
		s.Cases = append(s.Cases, tc)
	}
	_, err := io.WriteString(w, xml.Header)
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := errors.Join(err, enc.Encode(s)); err != nil {
		return err
	}
	_, err = fmt.Fprintln(w)
	return err
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
