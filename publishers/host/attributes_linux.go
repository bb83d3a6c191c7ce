package host

import "syscall"

// processAttributes puts a plugin into a process group of its own and has the kernel
// kill it when we die.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
