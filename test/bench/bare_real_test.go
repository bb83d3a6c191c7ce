//go:build real

package bench

import (
	"context"
	"errors"
	"fmt"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/segmentio/kafka-go"

	"github.com/fresnel-search/fresnel/plugins/oslo"
)

// publisherCases are those of the servers that the environment names, log first.
func publisherCases(b *testing.B, dir string) []publisherCase {
	b.Helper()
	cases := []publisherCase{
		{
			"log", "destination: \"file://" + filepath.Join(dir, "log.jsonl") + "\"", "appending the same lines to a file, 100 at once", "",
			func(b *testing.B, w *written) float64 { return bareFile(b, filepath.Join(dir, "bare.jsonl"), w) },
		},
		{"discard", "destination: \"discard:\"", "walking through the same lines", "", bareNothing},
	}
	if host := os.Getenv("FRESNEL_TEST_RABBITMQ"); host != "" {
		cases = append(cases, publisherCase{
			"rabbitmq", "destination: \"amqp://fresnel@" + host + "/\", secret: fresnel-pass, options: {topic: bench, declare: durable}",
			"bare amqp091-go: the same bodies, confirmed, 4 channels", "0.5",
			func(b *testing.B, w *written) float64 { return bareRabbit(b, host, w) },
		})
	}
	if brokers := os.Getenv("FRESNEL_TEST_KAFKA"); brokers != "" {
		cases = append(cases, publisherCase{
			"kafka", "destination: \"kafka://" + brokers + "\", options: {topic: bench}", "bare kafka-go: the same bodies, all replicas, 4 calls of 100 at once", "0.5",
			func(b *testing.B, w *written) float64 { return bareKafka(b, brokers, w) },
		})
	}
	if host := os.Getenv("FRESNEL_TEST_SMTP_CLEAR"); host != "" {
		cases = append(cases, publisherCase{
			"email", "destination: \"smtp://" + host + "\", options: {from: a@example.net, to: b@example.net, starttls: \"off\"}",
			"bare net/smtp: one text of the same size, 4 connections", "0.5",
			func(b *testing.B, w *written) float64 { return bareMail(b, host, w) },
		})
	}
	return cases
}

func bareFile(b *testing.B, path string, w *written) float64 {
	const mode = 0o640
	return shared(b, w.lines, func() (*os.File, error) { return os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, mode) },
		func(f *os.File, lines [][]byte) error {
			var all []byte
			for _, l := range lines {
				all = append(all, l...)
			}
			_, err := f.Write(all)
			return err
		})
}

func bareNothing(b *testing.B, w *written) float64 {
	return shared(b, w.lines, func() (struct{}, error) { return struct{}{}, nil }, func(_ struct{}, lines [][]byte) error {
		for _, l := range lines {
			if len(l) == 0 {
				return errors.New("an empty line")
			}
		}
		return nil
	})
}

func bareRabbit(b *testing.B, host string, w *written) float64 {
	conn, err := amqp.Dial("amqp://fresnel:fresnel-pass@" + host + "/")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return shared(b, w.bodies, func() (*amqp.Channel, error) {
		ch, err := conn.Channel()
		if err != nil {
			return nil, err
		}
		return ch, ch.Confirm(false)
	}, func(ch *amqp.Channel, ns []*oslo.Notification) error {
		waits := make([]*amqp.DeferredConfirmation, len(ns))
		for i, n := range ns {
			var err error
			waits[i], err = ch.PublishWithDeferredConfirm("openstack", "bench."+n.Priority, true, false,
				amqp.Publishing{DeliveryMode: amqp.Persistent, ContentType: "application/json", Body: n.Body})
			if err != nil {
				return err
			}
		}
		for _, c := range waits {
			if !c.Wait() {
				return errors.New("not confirmed")
			}
		}
		return nil
	})
}

func bareKafka(b *testing.B, brokers string, w *written) float64 {
	to := &kafka.Writer{
		Addr: kafka.TCP(strings.Split(brokers, ",")...), Balancer: &kafka.Murmur2Balancer{}, RequiredAcks: kafka.RequireAll,
		BatchTimeout: time.Millisecond, BatchSize: 1000,
	}
	b.Cleanup(func() { _ = to.Close() })
	return shared(b, w.bodies, func() (*kafka.Writer, error) { return to, nil }, func(to *kafka.Writer, ns []*oslo.Notification) error {
		ms := make([]kafka.Message, len(ns))
		for i, n := range ns {
			ms[i] = kafka.Message{Topic: "bench." + n.Priority, Key: []byte(n.Subject), Value: n.Body}
		}
		return to.WriteMessages(context.Background(), ms...)
	})
}

func bareMail(b *testing.B, host string, w *written) float64 {
	text := []byte("From: a@example.net\r\nTo: b@example.net\r\nSubject: a change\r\n\r\n" + strings.Repeat("a line of a change\r\n", 30))
	return shared(b, w.bodies, func() (*smtp.Client, error) { return smtp.Dial(host) }, func(c *smtp.Client, ns []*oslo.Notification) error {
		for range ns {
			err := errors.Join(c.Mail("a@example.net"), c.Rcpt("b@example.net"))
			if err != nil {
				return err
			}
			data, err := c.Data()
			if err != nil {
				return err
			}
			if _, err := data.Write(text); err != nil {
				return fmt.Errorf("write mail: %w", err)
			}
			if err := data.Close(); err != nil {
				return err
			}
		}
		return nil
	})
}
