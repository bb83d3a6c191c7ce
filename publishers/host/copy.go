package host

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"

	"github.com/fresnel-search/fresnel/plugins/manifest"
)

// maxProgram bounds one file of a plugin, in bytes.
const maxProgram = 1 << 30

const private = 0o700

// copyProgram returns what to run of a plugin in a folder: the entry of this platform
// as a copy in into, together with its files, all of them of the checksums in the
// manifest. What was checked is what is run: nobody else can write to the copies, and
// those that are there already are checked again. Then what is in the folder counts
// only if the plugin was not run from it before: it may be about to be replaced.
func copyProgram(m manifest.Manifest, from, into string, before bool) (argv []string, err error) {
	entry, sums, err := program(m)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(into, copyName(m, sums))
	src, err := os.OpenRoot(from)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	if err := os.MkdirAll(dir, private); err != nil {
		return nil, fmt.Errorf("make a folder for copies of plugins: %w", err)
	}
	if err := os.Chmod(dir, private); err != nil {
		return nil, err
	}
	if err := guarded(into); err != nil { // or others could put another folder in its place
		return nil, err
	}
	dst, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer dst.Close()
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		if !before {
			if sum, err := checksumOf(src, name); err != nil {
				return nil, err
			} else if sum != sums[name] {
				return nil, mismatch(src, name, sum, sums[name])
			}
		}
		if err := ensure(dst, src, name, sums[name]); err != nil {
			return nil, err
		}
	}
	return append([]string{filepath.Join(dir, filepath.FromSlash(entry.Path))}, entry.Args...), nil
}

// program is the entry of this platform, and the checksums of all that it needs.
func program(m manifest.Manifest) (manifest.Entry, map[string]string, error) {
	entry, err := m.For(runtime.GOOS, runtime.GOARCH)
	sums := map[string]string{entry.Path: entry.SHA256}
	maps.Copy(sums, m.Files)
	return entry, sums, err
}

// copyName names a folder for what the checksums describe.
func copyName(m manifest.Manifest, sums map[string]string) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		fmt.Fprintf(h, "%s %d:%s\n", sums[name], len(name), name)
	}
	const enough = 8
	return m.Name + "-" + hex.EncodeToString(h.Sum(nil)[:enough])
}

// ensure has a copy of a file in dst that has the checksum.
func ensure(dst, src *os.Root, name, want string) error {
	if sum, err := checksumOf(dst, name); err == nil && sum == want {
		return nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := dst.RemoveAll(name); err != nil {
		return err
	}
	if parent := filepath.Dir(name); parent != "." {
		if err := dst.MkdirAll(parent, private); err != nil {
			return err
		}
	}
	sum, err := copyFile(dst, src, name)
	if err == nil && sum != want {
		err = mismatch(src, name, sum, want)
	}
	if err != nil {
		return errors.Join(err, dst.RemoveAll(name))
	}
	return nil
}

// errChecksum says that a file is not the one of the manifest.
var errChecksum = errors.New("wrong checksum")

func mismatch(dir *os.Root, name, is, want string) error {
	return fmt.Errorf("%w: %s has the SHA-256 %s, its plugin.yaml says %s", errChecksum, filepath.Join(dir.Name(), name), is, want)
}

// open opens a regular file of a sensible size. Symlinks that leave the folder are
// refused.
func open(dir *os.Root, name string) (*os.File, error) {
	// A pipe would be waited for.
	f, err := dir.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%s is not a regular file", filepath.Join(dir.Name(), name))
	case info.Size() > maxProgram:
		err = fmt.Errorf("%s is larger than %d bytes", filepath.Join(dir.Name(), name), maxProgram)
	default:
		return f, nil
	}
	return nil, errors.Join(err, f.Close())
}

func checksumOf(dir *os.Root, name string) (string, error) {
	f, err := open(dir, name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, io.LimitReader(f, maxProgram))
	return hex.EncodeToString(h.Sum(nil)), err
}

// copyFile copies a file and returns the checksum of what was copied.
func copyFile(dst, src *os.Root, name string) (string, error) {
	in, err := open(src, name)
	if err != nil {
		return "", err
	}
	defer in.Close()
	// A process forked meanwhile would hold the copy open for writing for a moment, and
	// the kernel runs no such file.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	const readAndRun = 0o500
	out, err := dst.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, readAndRun)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, h), io.LimitReader(in, maxProgram))
	if err = errors.Join(err, out.Close()); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// copiesIn is the folder of copies in CopyDir: all in it is ours.
func copiesIn(dir string) string { return filepath.Join(dir, "fresnel-plugin-copies") }

// sweepCopies removes what no plugin runs any more.
func sweepCopies(dir string, used []manifest.Manifest) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	names := map[string]bool{}
	for _, m := range used {
		if _, sums, err := program(m); err == nil {
			names[copyName(m, sums)] = true
		}
	}
	errs := []error{err}
	for _, e := range entries {
		if !names[e.Name()] {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}
