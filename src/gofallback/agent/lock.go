package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lockPatience lets a run that systemd started again wait for the end of the process that was killed.
const lockPatience = 3 * time.Second

// takeLock holds a service for one agent; the kernel gives it back when the process ends, however it ends.
func takeLock(paths Paths, service string) (*os.File, error) {
	path := paths.lock(service)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(lockPatience); ; time.Sleep(50 * time.Millisecond) {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return file, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(end) {
			break
		}
	}
	file.Close()
	if record, _ := loadRecord(paths.record(service)); record != nil && !record.final() {
		return nil, fmt.Errorf("%s is being activated by run %s (%s, since %s, process %d): wait for it, or follow it",
			service, record.RunID, record.StartedBy, record.Started, record.PID)
	}
	return nil, fmt.Errorf("%s: %w", path, err)
}
