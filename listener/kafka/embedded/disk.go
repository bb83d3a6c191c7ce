package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// disk is what lies in the broker's folder.
type disk struct {
	bytes      int64 // all files
	partitions []partition
	topics     bool // the list of topics is there
}

// partition is one partition's folder, its segments in order.
type partition struct {
	topic    string
	id       int32
	bytes    int64
	segments []segment
}

// segment is one file of records, named for its first offset.
type segment struct {
	base, bytes int64
}

// scan reads the folder. Files that vanish meanwhile are not there.
func scan(dir string) (disk, error) {
	var d disk
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		d.add(path, info.Size())
		return nil
	})
	if err != nil {
		return disk{}, fmt.Errorf("embedded broker: %w", err)
	}
	for _, p := range d.partitions {
		slices.SortFunc(p.segments, func(a, b segment) int { return int(min(max(a.base-b.base, -1), 1)) })
	}
	return d, nil
}

// add accounts for one file; the walk visits each folder's files together.
func (d *disk) add(path string, size int64) {
	d.bytes += size
	folder, name := filepath.Split(path)
	if name == "topics.json" {
		d.topics = true
	}
	base, isSegment := strings.CutSuffix(name, ".dat")
	if !isSegment {
		return
	}
	offset, err := strconv.ParseInt(base, 10, 64)
	if err != nil {
		return
	}
	topic, id, ok := folderName(filepath.Base(folder))
	if !ok {
		return
	}
	if n := len(d.partitions); n == 0 || d.partitions[n-1].topic != topic || d.partitions[n-1].id != id {
		d.partitions = append(d.partitions, partition{topic: topic, id: id})
	}
	p := &d.partitions[len(d.partitions)-1]
	p.bytes += size
	p.segments = append(p.segments, segment{base: offset, bytes: size})
}

// folderName undoes kfake's naming of partition folders.
func folderName(s string) (topic string, id int32, ok bool) {
	i := strings.LastIndexByte(s, '-')
	if i < 0 {
		return "", 0, false
	}
	n, err := strconv.ParseInt(s[i+1:], 10, 32)
	if err != nil {
		return "", 0, false
	}
	topic, err = url.PathUnescape(s[:i])
	return topic, int32(n), err == nil
}

// check refuses a folder that kfake would take for an empty one, orphaning its
// records.
func (d disk) check() error {
	if len(d.partitions) > 0 && !d.topics {
		return fmt.Errorf("topics.json: %w", os.ErrNotExist)
	}
	return nil
}

// cut returns where a log may start whose records below limit are not needed: at
// the last segment that begins at or below it. A log that starts with a segment
// needs no note of its start to survive a crash, and never loses its last file.
func (p partition) cut(limit int64) int64 {
	start := p.segments[0].base
	for _, s := range p.segments[1:] {
		if s.base <= limit {
			start = s.base
		}
	}
	return start
}

// drop forgets the segments before start.
func (p *partition) drop(start int64) (freed int64) {
	for p.segments[0].base < start {
		freed += p.segments[0].bytes
		p.segments = p.segments[1:]
	}
	p.bytes -= freed
	return freed
}
