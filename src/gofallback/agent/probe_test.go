package main

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func service(t *testing.T, tls bool) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("status: ok " + r.Host)) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok", http.StatusFound) })
	mux.HandleFunc("/down", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no database\nmore", 503) })
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = w.Write(make([]byte, 1<<16))
		}
	})
	server := httptest.NewUnstartedServer(mux)
	if tls {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return server
}

func outcome(t *testing.T, check Check, timeout Seconds) string {
	t.Helper()
	health := Health{Check: check, Timeout: timeout}
	must(t, health.validate())
	result := runCheck(context.Background(), health)
	return healthWord(result.Healthy) + ": " + result.Reason
}

func TestHTTPChecks(t *testing.T) {
	url := service(t, false).URL
	for name, c := range map[string]struct {
		check Check
		says  string
	}{
		"well":             {Check{URL: url + "/ok", Body: "^status: ok"}, "healthy: GET"},
		"body":             {Check{URL: url + "/ok", Body: "fine"}, `unhealthy: GET ` + url + `/ok: body does not match "fine": status: ok`},
		"status":           {Check{URL: url + "/down"}, "expected status 200, got 503: no database"},
		"wanted status":    {Check{URL: url + "/down", Status: 503}, "healthy: GET"},
		"redirect is seen": {Check{URL: url + "/moved"}, "got 302"},
		"host header":      {Check{URL: url + "/ok", Headers: map[string]string{"host": "shop.test"}, Body: "shop.test"}, "healthy: GET"},
		"no answer":        {Check{URL: url + "/slow"}, "unhealthy: no answer within 300ms"},
		"endless body":     {Check{URL: url + "/endless"}, "healthy: GET"},
		"nobody there":     {Check{URL: "http://127.0.0.1:1/"}, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			c.check.Type = "http"
			if got := outcome(t, c.check, 0.3); !strings.Contains(got, c.says) || strings.Contains(got, "\n") {
				t.Errorf("expected %q, got %q", c.says, got)
			}
		})
	}
}

func TestTLSIsVerifiedUnlessConfiguredOtherwise(t *testing.T) {
	server := service(t, true)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	must(t, os.WriteFile(ca, block, 0o644))
	for says, check := range map[string]Check{
		"unhealthy: Get":           {},
		"healthy: GET":             {CAFile: ca},
		"healthy: GET ":            {Insecure: true},
		"unhealthy: ca_file: open": {CAFile: ca + ".none"},
	} {
		check.Type, check.URL = "http", server.URL+"/ok"
		if got := outcome(t, check, 2); !strings.HasPrefix(got, says) {
			t.Errorf("expected %q, got %q", says, got)
		}
	}
}

func TestTCPAndCommandChecks(t *testing.T) {
	server := service(t, false)
	address := strings.TrimPrefix(server.URL, "http://")
	for says, check := range map[string]Check{
		"healthy: " + address:            {Type: "tcp", Address: address},
		"unhealthy: dial tcp":            {Type: "tcp", Address: "127.0.0.1:1"},
		"healthy: sh: last":              {Type: "command", Argv: []string{"sh", "-c", "echo first; echo last"}},
		"unhealthy: sh: exit status 7: ": {Type: "command", Argv: []string{"sh", "-c", "exit 7"}},
		"unhealthy: exec: \"no-such":     {Type: "command", Argv: []string{"no-such-program"}},
	} {
		if got := outcome(t, check, 2); !strings.HasPrefix(got, says) && !strings.Contains(got, "no-such") {
			t.Errorf("expected %q, got %q", says, got)
		}
	}
}

func TestACommandThatHangsEndsWithEverythingItStarted(t *testing.T) {
	began := time.Now()
	mark := filepath.Join(t.TempDir(), "mark")
	got := outcome(t, Check{Type: "command", Argv: []string{"sh", "-c", "(sleep 1; touch " + mark + ") & sleep 60"}}, 0.2)
	if !strings.HasPrefix(got, "unhealthy: no answer within 200ms") || time.Since(began) > 900*time.Millisecond {
		t.Errorf("%q after %v", got, time.Since(began))
	}
	time.Sleep(1200 * time.Millisecond)
	if _, err := os.Stat(mark); err == nil {
		t.Error("a child process survived")
	}
}

func TestAHealthFileIsCheckedWhenItIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "health.json")
	for text, says := range map[string]string{
		`{"check":{"type":"http"}}`:                             "check.url: missing",
		`{"check":{"type":"icmp"}}`:                             `check.type: expected http, tcp or command, got "icmp"`,
		`{"check":{"type":"http","url":"http://x","body":"("}}`: "not an RE2 pattern",
		`{"timeout":-1,"check":{"type":"tcp","address":"x:1"}}`: "timeout: expected seconds",
		`{`: "unexpected end of JSON input",
	} {
		must(t, os.WriteFile(path, []byte(text), 0o644))
		if _, err := loadHealth(path); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: expected %q, got %v", text, says, err)
		}
	}
}
