package systemd

import (
	"net"
	"path/filepath"
	"testing"
)

func TestNotifyReachesTheSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	if err := Notify("READY=1"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 100)
	count, err := socket.Read(got)
	if err != nil || string(got[:count]) != "READY=1" {
		t.Errorf("got %q, %v", got[:count], err)
	}
}

func TestNotifyIsSilentWhenNobodyAsked(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Notify("READY=1"); err != nil {
		t.Error(err)
	}
}

func TestASocketForAnotherProcessIsNotTaken(t *testing.T) {
	t.Setenv("LISTEN_PID", "1")
	t.Setenv("LISTEN_FDS", "1")
	if listener, err := Listener(); listener != nil || err != nil {
		t.Errorf("got %v, %v", listener, err)
	}
}
