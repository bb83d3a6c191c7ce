// Command hostile is a publisher that posts events as webhook does, and commits each
// crime of a list once: the files in a folder of its configuration, by name.
package main

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/fresnel-search/fresnel/plugins/sdk"
)

type config struct {
	Outbound sdk.Outbound `json:"outbound,omitzero"`
	Crimes   string       `json:"crimes" doc:"folder"`
}

func main() {
	stdout := os.Stdout // go-plugin replaces it
	var one sync.Mutex
	sdk.Main(sdk.Publisher[config, struct{}]{
		Name: "hostile", Version: "1.0.0", Schemes: []string{"hostile"},
		Publish: func(ctx context.Context, c *config, d *sdk.Destination[struct{}], ev *sdk.Event) error {
			one.Lock()
			crime := next(c.Crimes)
			one.Unlock()
			if crime != "" {
				commit(ctx, crime, stdout)
			}
			return c.Outbound.Post(ctx, "http"+strings.TrimPrefix(d.URI, "hostile"), http.Header{"Webhook-Id": {ev.DeliveryID}}, sdk.CloudEvent(ev))
		},
	})
}

// next takes the next crime from the list, for the processes to come, too.
func next(folder string) string {
	files, err := os.ReadDir(folder)
	if err != nil || len(files) == 0 {
		return ""
	}
	if err := os.Remove(filepath.Join(folder, files[0].Name())); err != nil {
		return ""
	}
	_, crime, _ := strings.Cut(files[0].Name(), "-")
	return crime
}

func commit(ctx context.Context, crime string, stdout *os.File) {
	log := slog.Default()
	switch crime {
	case "panic":
		panic("in the author's function")
	case "garbage":
		for range 50 {
			if _, err := stdout.Write(bytes.Repeat([]byte("\x00garbage|1|1|unix|"), 10_000)); err != nil {
				log.Error("not written", "err", err)
			}
		}
	case "flood":
		for i := range 50_000 {
			log.Error("flood", "i", i)
		}
	case "hang":
		<-ctx.Done()
	case "deadlock":
		select {}
	case "crash":
		go panic("in a goroutine of its own")
		select {}
	case "exit":
		os.Exit(0)
	case "eat":
		var eaten [][]byte
		for range 2 << 10 {
			eaten = append(eaten, bytes.Repeat([]byte("x"), 1<<20))
		}
		log.Error("eaten", "count", len(eaten))
	case "freeze":
		if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
			log.Error("not frozen", "err", err)
		}
	}
}
