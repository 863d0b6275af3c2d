package main

import (
	"net"
	"net/http"
	"sync"
	"time"
)

const drainTime = time.Second

// requests knows the connections that may hold a request that nobody has answered.
//
// http.Server.Shutdown alone loses some: a request that it finds just arrived is dropped (net/http, conn.serve).
// So, before it: accept nothing more (systemd keeps the socket, and the next process takes over what waits there) and
// answer what was accepted.
type requests struct {
	mutex sync.Mutex
	open  map[net.Conn]bool
}

// track is a http.Server's ConnState.
func (r *requests) track(connection net.Conn, state http.ConnState) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.open == nil {
		r.open = map[net.Conn]bool{}
	}
	if state == http.StateNew || state == http.StateActive {
		r.open[connection] = true
	} else {
		delete(r.open, connection)
	}
}

// drain waits until every request is answered, but no longer than the limit: a connection may never send one.
func (r *requests) drain(limit time.Duration) {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		r.mutex.Lock()
		left := len(r.open)
		r.mutex.Unlock()
		if left == 0 {
			return
		}
	}
}
