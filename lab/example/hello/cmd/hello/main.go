// Command hello is a small HTTP service that misbehaves on demand.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"example.test/hello/internal/systemd"
)

// version is stamped by the build: -X main.version=v1.1.0
var version = "devel"

const (
	defaultAddr  = ":8080"
	shutdownTime = 5 * time.Second
	crashStatus  = 3
)

func main() {
	log.SetFlags(0) // the journal has the time
	show := flag.Bool("version", false, "print what this is, and exit")
	flag.Parse()
	if *show {
		fmt.Println(about())
		return
	}
	fault, err := parseFault(os.Getenv("HELLO_FAULT"), os.Getenv("HELLO_FAULT_AFTER"))
	if err != nil {
		log.Fatalf("hello: %v", err)
	}
	if err := run(fault); err != nil {
		log.Fatalf("hello: %v", err)
	}
}

// about is the one line of --version.
func about() string {
	return fmt.Sprintf("hello %s %s %s %s/%s", version, commit(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// commit is the revision go build found in version control, or "unknown".
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			return setting.Value
		}
	}
	return "unknown"
}

// run serves until SIGTERM or SIGINT, then lets requests that are under way end.
func run(fault fault) error {
	switch fault.kind {
	case "crash":
		log.Println("hello: HELLO_FAULT=crash: giving up at start")
		os.Exit(crashStatus)
	case "slow":
		log.Printf("hello: HELLO_FAULT=slow: listening in %s", fault.after)
		time.Sleep(fault.after)
	}
	stop, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	listener, err := listen()
	if err != nil {
		return err
	}
	if fault.kind == "hang" {
		log.Println("hello: HELLO_FAULT=hang: listening, never answering")
		<-stop.Done()
		return nil
	}
	return serve(stop, listener, fault)
}

// listen takes the socket systemd hands over, else opens $HELLO_ADDR.
func listen() (net.Listener, error) {
	if inherited, err := systemd.Listener(); inherited != nil || err != nil {
		return inherited, err
	}
	addr := os.Getenv("HELLO_ADDR")
	if addr == "" {
		addr = defaultAddr
	}
	return net.Listen("tcp", addr)
}

func serve(stop context.Context, listener net.Listener, fault fault) error {
	var pending requests
	server := &http.Server{
		Handler: handler(fault, time.Now()), ReadHeaderTimeout: 10 * time.Second, ConnState: pending.track,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	log.Printf("%s listening on %s", about(), listener.Addr())
	if err := systemd.Notify("READY=1\nSTATUS=" + about()); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return err
	case <-stop.Done():
	}
	log.Println("hello: stopping")
	if err := systemd.Notify("STOPPING=1"); err != nil {
		log.Printf("hello: %v", err) // stopping goes on all the same
	}
	listener.Close()
	<-failed // Serve has ended: every accepted connection is tracked
	server.SetKeepAlivesEnabled(false)
	pending.drain(drainTime)
	limit, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	if err := server.Shutdown(limit); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("requests still under way after %s: %w", shutdownTime, err)
	}
	return nil
}
