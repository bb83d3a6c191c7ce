package kafka

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
)

func TestIdleReadersAreNoTrouble(t *testing.T) {
	t.Parallel()
	const reading = "the kafka reader got an unknown error reading partition %d of %s at offset %d: %s"
	timeout := &net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded}
	var out bytes.Buffer
	c := &Client{log: slog.New(slog.NewTextHandler(&out, nil))}
	c.kafkaLog("idle").Printf(reading, 1, "t", 7, fmt.Errorf("fetch: %w", timeout))
	if out.Len() > 0 || c.trouble.over("idle") {
		t.Errorf("the end of an idle wait is said: %s", &out)
	}
	c.kafkaLog("reset").Printf(reading, 1, "t", 7, errors.New("connection reset by peer"))
	c.kafkaLog("start").Printf("error initializing the kafka reader for partition %d of %s: %s", 1, "t", timeout)
	if got := out.String(); strings.Count(got, "level=WARN") != 2 || !strings.Contains(got, "reset by peer") {
		t.Errorf("said is %s, want both troubles", got)
	}
}
