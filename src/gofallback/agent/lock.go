package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// startLockTimeout lets a run that systemd restarted wait until the killed process has ended.
const startLockTimeout = 3 * time.Second

// takeLock locks a service for one agent. The kernel releases the lock when the process ends, however it ends.
func takeLock(paths Paths, service string, timeout time.Duration) (*os.File, error) {
	file, err := openLock(paths, service)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(timeout); ; time.Sleep(50 * time.Millisecond) {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return file, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(end) {
			break
		}
	}
	file.Close()
	if record, _ := loadRecord(paths, service); record != nil && !record.final() {
		return nil, fmt.Errorf("%s is being activated by run %s (%s, since %s, process %d): wait for it, or follow it",
			service, record.RunID, record.StartedBy, record.Started, record.PID)
	}
	return nil, fmt.Errorf("%s: %w", paths.lock(service), err)
}

// awaitLock waits in the kernel for as long as it takes.
func awaitLock(ctx context.Context, paths Paths, service string) (*os.File, error) {
	file, err := openLock(paths, service)
	if err != nil {
		return nil, err
	}
	got := make(chan error, 1)
	go func() { got <- syscall.Flock(int(file.Fd()), syscall.LOCK_EX) }()
	select {
	case err := <-got:
		return file, err
	case <-ctx.Done(): // the process ends, and the blocked flock with it
		return nil, ctx.Err()
	}
}

func openLock(paths Paths, service string) (*os.File, error) {
	path := paths.lock(service)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if errors.Is(err, syscall.EROFS) {
		return os.OpenFile(path, os.O_RDONLY|syscall.O_CLOEXEC, 0) // enough for flock(2): a revert may still be possible
	}
	if err == nil {
		_ = file.Chmod(0o600) // a reader of the file can hold the lock; older agents created it readable by everybody
	}
	return file, err
}
