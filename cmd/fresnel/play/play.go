// Package play replays recorded notifications: it reads *.jsonl and *.jsonl.gz
// files, one {"topic","key","value"} object a line with "partition" if it matters,
// and makes records of them, shuffled, repeated or copied as asked.
//
// It produces nothing itself. Its invariant: the same recordings and options give
// the same records in the same order.
package play

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/listener/stream"
)

// maxLine bounds one line of a recording, in bytes.
const maxLine = 16 << 20

// Options say how often and in which order recordings are played.
type Options struct {
	// Shuffle, if not nil, seeds a random order of all records.
	Shuffle *uint64
	// Duplicate is how many times each record is sent; 0 is once.
	Duplicate int
	// Copies is how many clouds are made of the one recorded: in each but the first
	// every UUID is another. 0 is one.
	Copies int
}

type line struct {
	Topic     string          `json:"topic"`
	Partition *int            `json:"partition"`
	Sent      int64           `json:"timestamp_ms"`
	Key       *string         `json:"key"`
	Value     json.RawMessage `json:"value"`
}

// Load reads the recordings in files and, not deeper, in folders. Recordings that
// say when each record was sent ("timestamp_ms") are merged by that time, each
// file's own order kept; others follow one another in name order.
func Load(paths ...string) ([]stream.Record, error) {
	var each [][]stream.Record
	for _, p := range paths {
		files, err := recordings(p)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			rs, err := read(f)
			if err != nil {
				return nil, err
			}
			each = append(each, rs)
		}
	}
	all := merge(each)
	if len(all) == 0 {
		return nil, fmt.Errorf("no recorded notifications in %s: *.jsonl and *.jsonl.gz files are looked for", strings.Join(paths, ", "))
	}
	return all, nil
}

// merge takes, again and again, the earliest of the files' first records. A record
// without a time is earlier than any other.
func merge(files [][]stream.Record) []stream.Record {
	var all []stream.Record
	for {
		first := -1
		for i, f := range files {
			if len(f) > 0 && (first < 0 || f[0].Time.Before(files[first][0].Time)) {
				first = i
			}
		}
		if first < 0 {
			return all
		}
		all = append(all, files[first][0])
		files[first] = files[first][1:]
	}
}

func recordings(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var files []string
	err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && p != path {
			return fs.SkipDir
		}
		name := d.Name()
		if strings.HasSuffix(name, ".jsonl") || strings.HasSuffix(name, ".jsonl.gz") {
			files = append(files, p)
		}
		return nil
	})
	slices.Sort(files)
	return files, err
}

func read(path string) ([]stream.Record, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	var rs []stream.Record
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 64<<10), maxLine)
	for n := 1; sc.Scan(); n++ {
		rec, err := parse(sc.Bytes())
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		rs = append(rs, rec)
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return rs, nil
}

func parse(b []byte) (stream.Record, error) {
	var l line
	if err := json.Unmarshal(b, &l); err != nil {
		return stream.Record{}, err
	}
	if l.Topic == "" || len(l.Value) == 0 {
		return stream.Record{}, fmt.Errorf(`no record: {"topic","key","value"} is expected`)
	}
	rec := stream.Record{Topic: l.Topic, Partition: -1, Value: l.Value}
	if l.Value[0] == '"' { // the value's text; an object stands for itself
		var s string
		if err := json.Unmarshal(l.Value, &s); err != nil {
			return stream.Record{}, err
		}
		rec.Value = []byte(s)
	}
	if l.Sent > 0 {
		rec.Time = time.UnixMilli(l.Sent)
	}
	if l.Partition != nil {
		rec.Partition = *l.Partition
	}
	if l.Key != nil {
		rec.Key = []byte(*l.Key)
	}
	return rec, nil
}

// Count is how many records Records yields.
func (o Options) Count(recorded int) int {
	return recorded * max(1, o.Duplicate) * max(1, o.Copies)
}

// Records yields the records to send, copy by copy.
func (o Options) Records(recorded []stream.Record) iter.Seq[stream.Record] {
	return func(yield func(stream.Record) bool) {
		for c := range max(1, o.Copies) {
			for _, i := range o.order(len(recorded), c) {
				rec := recorded[i]
				if c > 0 {
					rec.Value = rename(rec.Value, c)
				}
				if !yield(rec) {
					return
				}
			}
		}
	}
}

// order is the sequence of record numbers in copy c.
func (o Options) order(n, c int) []int {
	order := make([]int, 0, n*max(1, o.Duplicate))
	for i := range n {
		for range max(1, o.Duplicate) {
			order = append(order, i)
		}
	}
	if o.Shuffle != nil {
		r := rand.New(rand.NewPCG(*o.Shuffle, uint64(c)))
		r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	}
	return order
}
