package host

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cgroup is a cgroup of version 2 around one plugin: it bounds what the plugin and
// all its children use together, and lets none of them escape their end. Nil is none.
type cgroup struct {
	dir string
	fd  *os.File
}

// newCgroup makes a cgroup in parent, or, if that is empty, where systemd lets us:
// beside our own one in a delegated subtree (Delegate=yes, DelegateSubgroup=). Where
// there is neither it returns nil.
func newCgroup(parent, name string, l Limits) (*cgroup, error) {
	if parent == "" {
		if parent = delegated(); parent == "" {
			return nil, nil //nolint:nilnil // a nil cgroup is one
		}
	}
	for controller := range strings.FieldsSeq("+memory +pids +cpu") {
		// Those that are not ours to give are not there below, and then not set.
		if err := write(parent, "cgroup.subtree_control", controller); err != nil {
			continue
		}
	}
	dir, err := os.MkdirTemp(parent, "fresnel-plugin-"+name+"-")
	if err != nil {
		return nil, err
	}
	const processes = "1024" // threads count
	for file, value := range map[string]string{
		"memory.max": strconv.FormatInt(l.Memory, 10), "memory.swap.max": "0", "memory.oom.group": "1", "pids.max": processes,
	} {
		if err := write(dir, file, value); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, errors.Join(err, os.Remove(dir))
		}
	}
	fd, err := os.Open(dir)
	if err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	return &cgroup{dir: dir, fd: fd}, nil
}

func write(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0) // never made: a controller that is missing is seen
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// delegated is the cgroup above our own one if systemd has handed it to us.
func delegated() string {
	mount := mountOfCgroup2()
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil || mount == "" {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok || path == "/" {
			continue
		}
		above := filepath.Join(mount, filepath.Dir(path))
		var value [8]byte
		if n, err := unix.Getxattr(above, "user.delegate", value[:]); err == nil && string(value[:n]) == "1" {
			return above
		}
	}
	return ""
}

// mountOfCgroup2 is where the hierarchy of version 2 is mounted.
func mountOfCgroup2() string {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		before, after, _ := strings.Cut(line, " - ")
		const mountPoint = 4
		fields := strings.Fields(before)
		if kind, _, _ := strings.Cut(after, " "); kind == "cgroup2" && len(fields) > mountPoint {
			return fields[mountPoint]
		}
	}
	return ""
}

// kill kills all processes in it.
func (c *cgroup) kill() {
	if c == nil {
		return
	}
	// A kernel before 5.14 has no such file; the process group is killed anyway.
	if err := write(c.dir, "cgroup.kill", "1"); err != nil {
		return
	}
}

// remove kills what is left in it and removes it.
func (c *cgroup) remove() error {
	if c == nil {
		return nil
	}
	c.kill()
	err := c.fd.Close()
	const pause, tries = 10 * time.Millisecond, 50
	for range tries { // the dead have to be buried first
		if removing := syscall.Rmdir(c.dir); !errors.Is(removing, syscall.EBUSY) {
			return errors.Join(err, removing)
		}
		<-time.After(pause)
	}
	return errors.Join(err, &fs.PathError{Op: "remove", Path: c.dir, Err: syscall.EBUSY})
}
