package host

import (
	"errors"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// processAttributes puts a plugin into a process group of its own, and a cgroup if
// there is one, and has the kernel kill it when we die.
func processAttributes(c *cgroup) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if c != nil {
		a.UseCgroupFD, a.CgroupFD = true, int(c.fd.Fd())
	}
	return a
}

// restrain bounds what a process may use that has just been started. What is bounded
// is its data, not its address space, of which an idle Go program maps gigabytes.
func restrain(pid int, l Limits) error {
	limits := map[int]uint64{unix.RLIMIT_CORE: 0, unix.RLIMIT_NOFILE: uint64(l.Files)}
	if !raceDetector {
		limits[unix.RLIMIT_DATA] = uint64(l.Memory)
	}
	var errs []error
	for which, most := range limits {
		var ours unix.Rlimit
		if err := unix.Getrlimit(which, &ours); err != nil {
			errs = append(errs, err)
			continue
		}
		most = min(most, ours.Max) // more needs privileges
		errs = append(errs, unix.Prlimit(pid, which, &unix.Rlimit{Cur: most, Max: most}, nil))
	}
	errs = append(errs, renice(pid, l.Nice))
	if err := errors.Join(errs...); err != nil && !errors.Is(err, unix.ESRCH) { // it has ended already
		return err
	}
	// When memory runs out, the kernel had better end the plugin than us.
	const victim = "500"
	if err := os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte(victim), 0); err != nil {
		return nil //nolint:nilerr // some systems do not let us, and it is only a hint
	}
	return nil
}

// renice lowers the priority of all threads of a process group below ours.
func renice(group, by int) error {
	if by == 0 {
		return nil
	}
	const base, most = 20, 19
	ours, err := unix.Getpriority(unix.PRIO_PROCESS, 0) // the kernel's form: 20 less the nice value
	if err != nil {
		return err
	}
	return unix.Setpriority(unix.PRIO_PGRP, group, min(base-ours+by, most))
}
