//go:build unix && !linux

package host

import "syscall"

// processAttributes puts a plugin into a process group of its own; it learns of our
// death by the end of its stdin.
func processAttributes(*cgroup) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// restrain does nothing: only Linux bounds another process.
func restrain(int, Limits) error { return nil }

// cgroup is for Linux only.
type cgroup struct{}

func newCgroup(string, string, Limits) (*cgroup, error) { return nil, nil } //nolint:nilnil // there is none here

func (*cgroup) kill() {}

func (*cgroup) remove() error { return nil }
