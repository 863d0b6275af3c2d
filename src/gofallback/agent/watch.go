package main

import (
	"os"
	"syscall"
)

// watchFolders signals when a file in one of the folders is replaced (inotify(7)). One signal may stand for several
// changes.
func watchFolders(paths ...string) (changed <-chan struct{}, stop func(), err error) {
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		return nil, nil, os.NewSyscallError("inotify_init1", err)
	}
	for _, path := range paths {
		if _, err := syscall.InotifyAddWatch(fd, path, syscall.IN_MOVED_TO); err != nil {
			syscall.Close(fd)
			return nil, nil, os.NewSyscallError("inotify_add_watch", err)
		}
	}
	events := os.NewFile(uintptr(fd), "inotify")
	signal := make(chan struct{}, 1)
	go func() {
		buffer := make([]byte, 4096)
		for {
			if _, err := events.Read(buffer); err != nil {
				return // closed
			}
			select {
			case signal <- struct{}{}:
			default:
			}
		}
	}()
	return signal, func() { events.Close() }, nil
}

// sysPidfdOpen is pidfd_open(2), the same number on every architecture; Linux 5.3.
const sysPidfdOpen = 434

// processEnd returns a channel that is closed when a process ends. On a kernel without pidfd_open it is never closed, and
// `follow` relies on the record alone.
func processEnd(pid int) <-chan struct{} {
	ended := make(chan struct{})
	fd, _, errno := syscall.Syscall(sysPidfdOpen, uintptr(pid), 0, 0)
	if errno == syscall.ESRCH {
		close(ended)
		return ended
	}
	if errno != 0 {
		return ended
	}
	go func() {
		defer syscall.Close(int(fd))
		poll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
		if err != nil {
			return
		}
		defer syscall.Close(poll)
		event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}
		if syscall.EpollCtl(poll, syscall.EPOLL_CTL_ADD, int(fd), &event) != nil {
			return
		}
		for {
			n, err := syscall.EpollWait(poll, make([]syscall.EpollEvent, 1), -1)
			if n == 1 {
				close(ended)
				return
			}
			if err != nil && err != syscall.EINTR {
				return
			}
		}
	}()
	return ended
}
