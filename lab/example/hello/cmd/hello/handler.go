package main

import (
	"fmt"
	"net/http"
	"time"
)

// handler answers requests of a service that began to serve at `since`.
func handler(fault fault, since time.Time) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if !fault.healthy(time.Since(since)) {
			http.Error(w, "unhealthy "+version, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, "ok %s\n", version)
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, greeting(r.URL.Query().Get("name")))
	})
	return mux
}
