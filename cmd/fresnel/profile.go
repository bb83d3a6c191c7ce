package main

import (
	"errors"
	"os"
	"runtime/pprof"
)

// profiled runs f and writes into a file what the processor did meanwhile, for `go
// tool pprof`; no name, no profile.
func profiled(name string, f func() error) error {
	if name == "" {
		return f()
	}
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		return errors.Join(err, out.Close())
	}
	err = f()
	pprof.StopCPUProfile()
	return errors.Join(err, out.Close())
}
