package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func get(t *testing.T, fault fault, age time.Duration, path string) (int, string) {
	t.Helper()
	answer := httptest.NewRecorder()
	request := httptest.NewRequest(http.MethodGet, path, nil)
	handler(fault, time.Now().Add(-age)).ServeHTTP(answer, request)
	return answer.Code, answer.Body.String()
}

func TestHealthSaysOkAndTheVersion(t *testing.T) {
	if status, body := get(t, fault{}, 0, "/healthz"); status != 200 || body != "ok "+version+"\n" {
		t.Errorf("got %d %q", status, body)
	}
}

func TestUnhealthyIsUnhealthyFromTheStart(t *testing.T) {
	if status, _ := get(t, fault{kind: "unhealthy"}, 0, "/healthz"); status != 503 {
		t.Errorf("got %d", status)
	}
}

func TestFlapIsHealthyUntilItsTime(t *testing.T) {
	flap := fault{kind: "flap", after: time.Minute}
	if status, _ := get(t, flap, 0, "/healthz"); status != 200 {
		t.Errorf("before: got %d", status)
	}
	if status, _ := get(t, flap, 2*time.Minute, "/healthz"); status != 503 {
		t.Errorf("after: got %d", status)
	}
}

func TestRootGreets(t *testing.T) {
	if status, body := get(t, fault{}, 0, "/"); status != 200 || !strings.Contains(body, "Hello") {
		t.Errorf("got %d %q", status, body)
	}
}

func TestUnknownPathsAreNotFound(t *testing.T) {
	if status, _ := get(t, fault{}, 0, "/nothing"); status != 404 {
		t.Errorf("got %d", status)
	}
}

func TestFaultsAreReadFromTheEnvironment(t *testing.T) {
	if got, err := parseFault("flap", "150ms"); err != nil || got != (fault{"flap", 150 * time.Millisecond}) {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := parseFault("", ""); err != nil || got.kind != "" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestAWrongFaultIsRefusedByName(t *testing.T) {
	for _, wrong := range [][2]string{{"explode", ""}, {"flap", "soon"}} {
		if _, err := parseFault(wrong[0], wrong[1]); err == nil || !strings.Contains(err.Error(), "expected") {
			t.Errorf("%v: got %v", wrong, err)
		}
	}
}

func TestVersionLineHasFiveWords(t *testing.T) {
	if words := strings.Fields(about()); len(words) != 5 || words[0] != "hello" || words[1] != version {
		t.Errorf("got %q", about())
	}
}
