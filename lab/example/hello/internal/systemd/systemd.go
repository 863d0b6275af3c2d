// Package systemd implements the two small protocols of a systemd service: sd_listen_fds(3) and sd_notify(3).
package systemd

import (
	"fmt"
	"net"
	"os"
	"strconv"
)

// firstFD is SD_LISTEN_FDS_START.
const firstFD = 3

// Listener returns the socket that systemd opened for this process, or nil if it opened none.
func Listener() (net.Listener, error) {
	pid, _ := strconv.Atoi(os.Getenv("LISTEN_PID"))
	count, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if pid != os.Getpid() || count == 0 {
		return nil, nil
	}
	if count != 1 {
		return nil, fmt.Errorf("LISTEN_FDS=%d: expected one socket", count)
	}
	file := os.NewFile(firstFD, "systemd socket")
	defer file.Close() // FileListener has its own copy
	return net.FileListener(file)
}

// Notify sends the state of this service to systemd. Without NOTIFY_SOCKET it does nothing.
func Notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	connection, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	defer connection.Close()
	if _, err := connection.Write([]byte(state)); err != nil {
		return fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	return nil
}
