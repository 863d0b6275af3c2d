package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const fetchToken = "canary-token-4711"

// storeOf serves content under several paths, each with its own fault.
func storeOf(t *testing.T, content []byte) (server, elsewhere *httptest.Server, tries *atomic.Int32) {
	t.Helper()
	tries = &atomic.Int32{}
	other := http.NewServeMux()
	other.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		if fmt.Sprint(r.Header) != "" && strings.Contains(fmt.Sprint(r.Header), fetchToken) {
			t.Errorf("the token went to another host: %v", r.Header)
		}
		_, _ = w.Write(content)
	})
	elsewhere = httptest.NewServer(other)
	mux := http.NewServeMux()
	whole := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"one"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}
	cut := func(w http.ResponseWriter, from, to int) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)-from))
		_, _ = w.Write(content[from:to])
		panic(http.ErrAbortHandler)
	}
	mux.HandleFunc("/file", whole)
	mux.HandleFunc("/private", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Private-Token") != fetchToken {
			http.Error(w, "who is "+r.Header.Get("Private-Token"), 401)
			return
		}
		whole(w, r)
	})
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+"/file?X-Signature=canary", http.StatusFound)
	})
	mux.HandleFunc("/round", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/round", http.StatusFound) })
	mux.HandleFunc("/busy", func(w http.ResponseWriter, r *http.Request) {
		if tries.Add(1) < 3 {
			http.Error(w, "starting", 503)
			return
		}
		whole(w, r)
	})
	mux.HandleFunc("/breaks", func(w http.ResponseWriter, r *http.Request) {
		if tries.Add(1) == 1 {
			w.Header().Set("ETag", `"one"`)
			cut(w, 0, len(content)/2)
		}
		if want := fmt.Sprintf("bytes=%d-", len(content)/2); r.Header.Get("Range") != want || r.Header.Get("If-Range") != `"one"` {
			t.Errorf("expected the rest, %s, got %v", want, r.Header)
		}
		whole(w, r)
	})
	mux.HandleFunc("/replaced", func(w http.ResponseWriter, r *http.Request) { // without an ETag, and another file when it broke off
		if tries.Add(1) == 1 {
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			_, _ = w.Write(bytes.Repeat([]byte("x"), 1000))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
	mux.HandleFunc("/wrong", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(bytes.ToUpper(content)) })
	mux.HandleFunc("/longer", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)+1))
		_, _ = w.Write(append(content, '!'))
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = w.Write(make([]byte, 1<<16))
		}
	})
	mux.HandleFunc("/short", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(content[1:]) })
	mux.HandleFunc("/gone", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", 404) })
	mux.HandleFunc("/silent", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/stalls", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.Write(content[:100])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("/drips", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		for i := 0; i < len(content) && r.Context().Err() == nil; i++ {
			_, _ = w.Write(content[i : i+1])
			w.(http.Flusher).Flush()
			time.Sleep(20 * time.Millisecond)
		}
	})
	server = httptest.NewServer(mux)
	t.Cleanup(server.Close)
	t.Cleanup(elsewhere.Close)
	return server, elsewhere, tries
}

func program() ([]byte, FetchFile) {
	content := bytes.Repeat([]byte("a program "), 20_000)
	sum := sha256.Sum256(content)
	return content, FetchFile{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(content))}
}

// fetched runs a request with a controller that stays connected. It returns the output and the fetched file, "" if there is none.
func fetched(t *testing.T, request FetchRequest) (code int, output, there string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hello")
	request.Files[0].Path = path
	line, err := json.Marshal(request)
	must(t, err)
	in, controller := io.Pipe()
	go func() { _, _ = controller.Write(append(line, '\n')) }()
	var out bytes.Buffer
	code = fetchFrom(context.Background(), in, &out)
	controller.Close()
	if strings.Contains(out.String(), "canary") {
		t.Errorf("a secret was printed: %s", &out)
	}
	data, err := os.ReadFile(path)
	must(t, ignoreMissing(err))
	return code, out.String(), string(data)
}

func TestAFileIsFetchedInSpiteOfFaults(t *testing.T) {
	content, file := program()
	for path, says := range map[string]string{
		"/file": "fetched\t", "/private": "fetched\t", "/away": "fetched\t",
		"/busy": "503 Service Unavailable; retry in", "/breaks": "retry in", "/replaced": "once more from the beginning",
	} {
		t.Run(path, func(t *testing.T) {
			server, _, _ := storeOf(t, content)
			file.URL, file.Headers = server.URL+path, map[string]string{"PRIVATE-TOKEN": fetchToken}
			code, output, there := fetched(t, FetchRequest{Files: []FetchFile{file}, Timeout: 5, Deadline: 20, Attempts: 4})
			if code != exitOK || there != string(content) || !strings.Contains(output, says) {
				t.Errorf("%d: %s", code, output)
			}
		})
	}
}

func TestAFailedFetchPrintsOneLineAndLeavesNoFile(t *testing.T) {
	content, file := program()
	server, _, _ := storeOf(t, content)
	host := strings.TrimPrefix(server.URL, "http://")
	for path, says := range map[string]string{
		"/private?t=canary": "fail\trefused\t" + host + ": 401 Unauthorized",
		"/gone":             "fail\tabsent\t" + host + ": 404 Not Found",
		"/round":            "fail\tstore\t" + host + ": 5 redirects in a row",
		"/wrong":            "fail\twrong\tits sha256 is ",
		"/longer":           "fail\twrong\tit has 200001 bytes, expected 200000",
		"/endless":          "fail\twrong\tit is larger than the expected 200000 bytes",
		"/short":            "fail\twrong\tit has 199999 bytes, expected 200000",
		"/silent":           "fail\tdown\t" + host + ": no data for 0.3 s; tried 2 times",
		"/stalls":           "fail\tdown\t" + host + ": no data for 0.3 s; tried 2 times",
		"/drips":            "fail\tdeadline\tnot done within 2 s (0.0 of 0.2 MB received)",
	} {
		t.Run(path, func(t *testing.T) {
			file.URL, file.Headers = server.URL+path, map[string]string{"Private-Token": "canary-wrong"}
			code, output, there := fetched(t, FetchRequest{Files: []FetchFile{file}, Timeout: 0.3, Deadline: 2, Attempts: 2})
			lines := strings.Split(strings.TrimSpace(output), "\n")
			if code != exitUnhealthy || there != "" || !strings.HasPrefix(lines[len(lines)-1], says) {
				t.Errorf("expected %q, got %d: %s", says, code, output)
			}
		})
	}
}

func TestFetchEndsWhenTheControllerDisconnects(t *testing.T) {
	content, file := program()
	server, _, _ := storeOf(t, content)
	file.URL, file.Path = server.URL+"/drips", filepath.Join(t.TempDir(), "hello")
	line, _ := json.Marshal(FetchRequest{Files: []FetchFile{file}, Timeout: 5, Deadline: 60, Attempts: 2})
	var out bytes.Buffer
	began := time.Now()
	if code := fetchFrom(context.Background(), bytes.NewReader(append(line, '\n')), &out); code != exitUnhealthy {
		t.Error(code)
	}
	if !strings.HasPrefix(out.String(), "fail\tgone\tthe controller disconnected") || time.Since(began) > 5*time.Second {
		t.Error(out.String())
	}
}

func TestAFullDiskIsReportedAsSuch(t *testing.T) {
	if got := diskError(&os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}); got.kind != "disk" {
		t.Error(got)
	}
}

func TestAnInvalidRequestIsRefusedWithoutQuotingIt(t *testing.T) {
	_, good := program()
	good.Path, good.URL = "relative", "http://x/"
	badPath, _ := json.Marshal(FetchRequest{Files: []FetchFile{good}, Timeout: 1, Deadline: 1, Attempts: 1})
	for text, says := range map[string]string{
		"":                            "no line on standard input",
		"{\"canary\n":                 "not JSON",
		`{"timeout":"canary"}` + "\n": "timeout has the wrong type",
		"{}\n":                        "files, timeout, deadline or attempts are missing",
		string(badPath) + "\n":        "path, sha256 or size of a file is invalid",
	} {
		var out bytes.Buffer
		if code := fetchFrom(context.Background(), strings.NewReader(text), &out); code != exitRefused {
			t.Error(code)
		}
		if !strings.Contains(out.String(), says) || strings.Contains(out.String(), "canary") {
			t.Errorf("expected %q, got %q", says, &out)
		}
	}
}

func TestTheStoresAuthorityHasToBeKnown(t *testing.T) {
	content, file := program()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) }))
	defer server.Close()
	file.URL = server.URL + "/?X-Amz-Signature=canary"
	request := FetchRequest{Files: []FetchFile{file}, Timeout: 5, Deadline: 20, Attempts: 2}
	if code, output, _ := fetched(t, request); code != exitUnhealthy || !strings.Contains(output, "fail\ttls\t") {
		t.Error(output)
	}
	request.CA = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	if code, output, there := fetched(t, request); code != exitOK || there != string(content) {
		t.Error(output)
	}
}

func TestTheRequestGoesThroughTheProxyItNames(t *testing.T) {
	content, file := program()
	asked := ""
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Host + " " + r.Header.Get("Proxy-Authorization")
		_, _ = w.Write(content)
	}))
	defer proxy.Close()
	address, _ := url.Parse(proxy.URL)
	address.User = url.UserPassword("u", "canary")
	file.URL = "http://store.invalid/hello"
	code, output, _ := fetched(t, FetchRequest{Files: []FetchFile{file}, Timeout: 5, Deadline: 20, Attempts: 1, Proxy: address.String()})
	if code != exitOK || !strings.HasPrefix(asked, "store.invalid Basic ") {
		t.Errorf("%s, %q", output, asked)
	}
}
