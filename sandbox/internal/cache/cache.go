// Package cache keeps apart the processes that fill a folder of the cache.
package cache

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"imagechain.dev/sandbox/internal/progress"
)

// Store is a folder whose entries get their name when they are complete.
type Store struct {
	Folder string
	// What is done by whoever holds the store, for those who wait.
	What string
	// Unfinished is the pattern of the names of incomplete entries.
	Unfinished string
}

// Exclusively fills the store, when no other process does; what a killed one left unfinished goes first.
func (s Store) Exclusively(printer *progress.Printer, fill func() error) error {
	if err := os.MkdirAll(s.Folder, 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(s.Folder, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close()
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		printer.Say("another process is %s: waiting for it", s.What)
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		return err
	}
	leftovers, err := filepath.Glob(filepath.Join(s.Folder, s.Unfinished))
	if err != nil {
		return err
	}
	for _, leftover := range leftovers {
		if err := os.RemoveAll(leftover); err != nil {
			return err
		}
	}
	return fill()
}
