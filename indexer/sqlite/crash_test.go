package sqlite_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/sqlite"
	"github.com/fresnel-search/fresnel/indexer/storetest"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// crashEnv makes the test binary a process that writes to the store in that folder
// until it is killed.
const crashEnv = "FRESNEL_TEST_SQLITE_WRITER"

func crashWriter() bool {
	dir := os.Getenv(crashEnv)
	if dir == "" {
		return false
	}
	if err := writeUntilKilled(dir); err != nil {
		fmt.Println("error", err)
	}
	return true
}

// writeUntilKilled writes batches of documents and records and prints the number of
// each once it is acknowledged.
func writeUntilKilled(dir string) error {
	cfg := sqlite.DefaultConfig().In(dir)
	s, err := sqlite.OpenTypes(cfg, storetest.Types(), nil)
	if err != nil {
		return err
	}
	first, err := strconv.Atoi(os.Getenv(crashEnv + "_FROM"))
	if err != nil {
		return err
	}
	ctx := context.Background()
	for n := first; ; n++ {
		out, err := s.Write(ctx, crashBatch(n))
		if err != nil {
			return err
		}
		for _, w := range out {
			if w.Err != nil {
				return w.Err
			}
		}
		if _, err := s.Save(ctx, []record.Record{{Table: "t", Key: fmt.Sprint(n), Value: []byte{1}}}); err != nil {
			return err
		}
		fmt.Println(n)
	}
}

func crashBatch(n int) []resource.Document {
	docs := make([]resource.Document, 1+n%7)
	for i := range docs {
		ref := resource.Ref{Type: storetest.Server, ID: fmt.Sprintf("%d-%d", n, i)}
		docs[i] = storetest.Doc(ref, []resource.Principal{"*"}, map[string]string{
			"name": fmt.Sprintf(`"batch%d web-%d"`, n, i), "size": fmt.Sprint(n), "status": `"ACTIVE"`,
		})
	}
	return docs
}

func TestWhatWasAcknowledgedOutlivesAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var acked []int
	for run := range 8 {
		acked = append(acked, killedWriter(t, dir, run*1_000_000)...)
		s := open(t, dir, storetest.Types())
		for _, n := range acked {
			check(t, s, n)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d batches were acknowledged", len(acked))
}

// killedWriter runs a writer, kills it at a random moment after its first batch and
// returns the batches that it had acknowledged.
func killedWriter(t *testing.T, dir string, from int) (acked []int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), crashEnv+"="+dir, fmt.Sprintf("%s_FROM=%d", crashEnv, from))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Errorf("the writer said %q", lines.Text())
			break
		}
		if acked = append(acked, n); len(acked) == 1 {
			time.AfterFunc(rand.N(500*time.Millisecond), func() {
				if err := cmd.Process.Kill(); err != nil {
					t.Errorf("kill: %v", err)
				}
			})
		}
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the writer ended with %v, not by the kill", err)
	}
	return acked
}

// check looks for all of an acknowledged batch: record, documents, what finds them.
func check(t *testing.T, s *sqlite.Store, n int) {
	t.Helper()
	if rec, err := s.Read(t.Context(), "t", fmt.Sprint(n)); err != nil || rec.Version == 0 {
		t.Errorf("record %d is lost (%v)", n, err)
	}
	want := crashBatch(n)
	refs := make([]resource.Ref, len(want))
	for i, d := range want {
		refs[i] = d.Ref
	}
	docs, err := s.Load(t.Context(), refs)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range docs {
		if d.Version == 0 || len(d.Fields) != 3 || !d.State.Named {
			t.Errorf("%s is lost", d.Ref)
		}
	}
	res, err := s.Search(t.Context(), query.Request{
		Types: []string{storetest.Server}, Query: query.Term{Field: "name", Value: fmt.Sprint("batch", n)}, Scope: &query.Scope{All: true},
	})
	if err != nil || res.Total != len(want) {
		t.Errorf("a search finds %d of batch %d, %v, want %d", res.Total, n, err, len(want))
	}
}
