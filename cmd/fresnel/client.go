package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// clientTimeout bounds one call of a command to the server.
const clientTimeout = 30 * time.Second

// maxAnswer bounds what a command reads of one answer, in bytes.
const maxAnswer = 64 << 20

// client talks to a running server's HTTP API.
type client struct {
	url, token string
}

// flags adds --url and --token; the environment gives their defaults.
func (c *client) flags(cmd *cobra.Command) {
	url := os.Getenv("FRESNEL_URL")
	if url == "" {
		url = "http://127.0.0.1:9393"
	}
	cmd.PersistentFlags().StringVar(&c.url, "url", url, "the server's address (environment FRESNEL_URL)")
	// No default here: help prints defaults, and a token is a secret.
	cmd.PersistentFlags().StringVar(&c.token, "token", "", "X-Auth-Token to send (environment FRESNEL_TOKEN)")
}

// call sends a request with a JSON body, if one is given, and decodes the answer
// into one, if it is given. The error of a refused request is the server's words.
func (c *client) call(ctx context.Context, method, path string, body, into any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, clientTimeout, errors.New("the server did not answer in 30 s"))
	defer cancel()
	var rd io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		rd = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(c.url, "/")+path, rd)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	token := c.token
	if token == "" {
		token = os.Getenv("FRESNEL_TOKEN")
	}
	if token != "" {
		req.Header.Set("X-Auth-Token", token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%w; is a server running there? start one with `fresnel serve`, or name it with --url", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.url, err)
	}
	if resp.StatusCode >= 300 {
		return problem(resp.Status, b)
	}
	if into == nil || len(b) == 0 {
		return nil
	}
	if raw, ok := into.(*json.RawMessage); ok {
		*raw = b
		return nil
	}
	return json.Unmarshal(b, into)
}

// problem is the error in an application/problem+json answer.
func problem(status string, body []byte) error {
	var p struct {
		Title, Detail string
	}
	if json.Unmarshal(body, &p) != nil || p.Title+p.Detail == "" {
		return errors.New(status)
	}
	if p.Detail == "" {
		return fmt.Errorf("%s: %s", status, p.Title)
	}
	return fmt.Errorf("%s: %s", status, p.Detail)
}
