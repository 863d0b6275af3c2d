package main

import (
	"net"
	"net/http"
	"sync"
	"time"
)

const drainTime = time.Second

// requests tracks the connections that may hold an unanswered request.
//
// http.Server.Shutdown alone drops a request that has just arrived (net/http, conn.serve). So before Shutdown the service
// accepts no more connections (systemd keeps the socket, and the next process accepts those that wait there) and answers
// every request on the connections it has.
type requests struct {
	mutex sync.Mutex
	open  map[net.Conn]bool
}

// track is the ConnState callback of http.Server.
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

// drain waits until every request is answered, at most for the limit: a connection may never send a request.
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
