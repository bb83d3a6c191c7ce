package app

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSecondLockNamesTheFirstProcess(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "data")
	unlock, err := lockData(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = lockData(dir) // another open file is as good as another process
	if want := fmt.Sprintf("data folder %s is in use by process %d;", dir, os.Getpid()); err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("second lock: %v, want %q in it", err, want)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	again, err := lockData(dir)
	if err != nil {
		t.Fatalf("after the first has gone: %v", err)
	}
	if err := again(); err != nil {
		t.Error(err)
	}
}

func TestLockOfADeadProcessIsNone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "fresnel.lock"), []byte("1234567890\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	unlock, err := lockData(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "fresnel.lock"))
	if want := fmt.Sprintln(os.Getpid()); err != nil || string(b) != want {
		t.Errorf("the file says %q, %v; want %q", b, err, want)
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
}

func TestDataFolderThatCannotBeIsNamed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := lockData(filepath.Join(file, "data")); err == nil || !strings.Contains(err.Error(), "data folder: ") || !strings.Contains(err.Error(), file) {
		t.Errorf("lockData = %v, want the folder named", err)
	}
}
