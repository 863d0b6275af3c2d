package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

// FetchRequest is the request of `fetch`, one line of its standard input. URLs may be signed and headers hold tokens, so
// they are never put into an argument, an environment variable or a file.
type FetchRequest struct {
	Files []FetchFile `json:"files"`
	// Timeout is how long the store may send no data.
	Timeout Seconds `json:"timeout"`
	// Deadline limits the whole request.
	Deadline Seconds `json:"deadline"`
	// Attempts without any progress.
	Attempts int `json:"attempts"`
	// CA holds PEM certificates in addition to the system's.
	CA string `json:"ca"`
	// Proxy replaces the environment's proxy.
	Proxy string `json:"proxy"`
}

// FetchFile is one file: its URL, its path on the target, and its expected content.
type FetchFile struct {
	Path    string            `json:"path"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	SHA256  string            `json:"sha256"`
	Size    int64             `json:"size"`
}

// fetchError is why a file was not fetched. Its kind tells the controller how to react.
type fetchError struct {
	// of the store: down (may be retried), refused, absent, store, tls, wrong, deadline; others: disk, folder, request, gone
	kind, text string
	after      time.Duration // delay that the store requested
}

func (e *fetchError) Error() string { return e.text }

func (e *fetchError) retryable() bool { return e.kind == "down" }

func fetchFailure(kind, format string, words ...any) *fetchError {
	return &fetchError{kind: kind, text: fmt.Sprintf(format, words...)}
}

const (
	// progressInterval is how often a slow download reports its progress.
	progressInterval = 5 * time.Second
	// requestLimit is far above the size of a request with its certificates.
	requestLimit = 4 << 20
)

var digestPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

func fetchCommand(args []string, _ Paths, out io.Writer) (int, error) {
	flags := flag.NewFlagSet("fetch", flag.ContinueOnError)
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 {
		return exitRefused, errors.Join(err, errors.New("takes no arguments; the request is one line of standard input"))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer stop()
	return fetchFrom(ctx, os.Stdin, out), nil
}

// fetchFrom prints lines: `fetched TAB path TAB bytes`, `progress TAB bytes TAB total`, `note TAB text` and
// `fail TAB kind TAB text`.
func fetchFrom(ctx context.Context, in io.Reader, out io.Writer) int {
	line, err := bufio.NewReader(io.LimitReader(in, requestLimit)).ReadBytes('\n')
	var request FetchRequest
	if err == nil { // the padding of the tar before the request may leave zeros
		err = json.Unmarshal(bytes.TrimLeft(line, "\x00"), &request)
	}
	if err == nil {
		err = request.validate()
	}
	report := &reporter{out: out}
	if err != nil {
		// The request is not quoted: it holds the token.
		report.failed(fetchFailure("request", "invalid request: %s", requestProblem(err)))
		return exitRefused
	}
	report.secrets = request.secrets()
	ctx, cancel := context.WithTimeoutCause(ctx, request.Deadline.Duration(),
		fetchFailure("deadline", "not done within %g s", request.Deadline))
	defer cancel()
	ctx, cancelCause := context.WithCancelCause(ctx)
	go func() { // the controller keeps standard input open until it has the file
		_, _ = io.Copy(io.Discard, in)
		cancelCause(fetchFailure("gone", "the controller disconnected"))
	}()
	if failure := request.run(ctx, report); failure != nil {
		report.failed(failure)
		return exitUnhealthy
	}
	return exitOK
}

// requestProblem explains an invalid request without quoting it.
func requestProblem(err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return "not JSON"
	case errors.As(err, &kind):
		return kind.Field + " has the wrong type"
	case errors.Is(err, io.EOF):
		return "no line on standard input"
	}
	return err.Error()
}

func (f *FetchRequest) validate() error {
	if f.Timeout <= 0 || f.Deadline <= 0 || f.Attempts < 1 || len(f.Files) == 0 {
		return errors.New("files, timeout, deadline or attempts are missing")
	}
	for _, file := range f.Files {
		if !filepath.IsAbs(file.Path) || !digestPattern.MatchString(file.SHA256) || file.Size < 0 {
			return errors.New("path, sha256 or size of a file is invalid")
		}
	}
	return nil
}

func (f *FetchRequest) run(ctx context.Context, report *reporter) *fetchError {
	client, failure := newStoreClient(f)
	if failure != nil {
		return failure
	}
	for _, file := range f.Files {
		if failure := client.fetch(ctx, file, report); failure != nil {
			return failure
		}
		report.line("fetched", file.Path, fmt.Sprint(file.Size))
	}
	return nil
}

// fetch downloads one file. Each attempt continues where the last one ended.
func (c *storeClient) fetch(ctx context.Context, file FetchFile, report *reporter) *fetchError {
	target, err := os.OpenFile(file.Path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return diskError(err)
	}
	download := &download{file: file, target: target, hash: sha256.New(), report: report}
	failure := c.downloadWithRetries(ctx, download)
	if failure == nil {
		if err := target.Close(); err != nil {
			failure = diskError(err)
		}
	}
	if failure != nil {
		target.Close()
		_ = os.Remove(file.Path)
	}
	return failure
}

func (c *storeClient) downloadWithRetries(ctx context.Context, d *download) *fetchError {
	for attempt := 1; ; {
		before := d.done
		failure := c.attempt(ctx, d)
		if failure == nil {
			failure = d.verify()
		}
		if failure == nil {
			return nil
		}
		if failure.kind == "wrong" && d.resumed && !d.restarted {
			// The parts of a resumed download may be of different files: download it once more in one piece.
			d.report.line("note", "the sha256 of the resumed download is wrong; once more from the beginning")
			d.restarted = true
			if failure := d.restart(); failure != nil {
				return failure
			}
			continue
		}
		if cause := stopCause(ctx); cause != nil {
			return d.withProgress(cause)
		}
		if !failure.retryable() {
			return failure
		}
		if d.done-before >= enoughProgress {
			attempt = 1
		}
		if attempt >= c.request.Attempts {
			failure.text += attemptsText(attempt)
			return failure
		}
		wait := retryDelay(attempt, failure.after)
		d.report.line("note", fmt.Sprintf("%s; retry in %.1f s (attempt %d of %d)", failure.text, wait.Seconds(), attempt, c.request.Attempts))
		attempt++
		if err := (realClock{}).Sleep(ctx, wait); err != nil {
			return d.withProgress(stopCause(ctx))
		}
	}
}

// stopCause is why the fetch has to stop: the deadline, a signal, or a controller that disconnected.
func stopCause(ctx context.Context) *fetchError {
	if ctx.Err() == nil {
		return nil
	}
	var cause *fetchError
	if errors.As(context.Cause(ctx), &cause) {
		return cause
	}
	return fetchFailure("gone", "stopped")
}

func attemptsText(attempts int) string {
	if attempts == 1 {
		return "; tried once"
	}
	return fmt.Sprintf("; tried %d times", attempts)
}

// download is the state of one file being fetched.
type download struct {
	file      FetchFile
	target    *os.File
	hash      hash.Hash
	report    *reporter
	done      int64
	etag      string
	resumed   bool
	restarted bool
}

// Write updates the hash with every byte that is written to the disk.
func (d *download) Write(data []byte) (int, error) {
	n, err := d.target.Write(data)
	_, _ = d.hash.Write(data[:n])
	d.done += int64(n)
	d.report.progress(d.done, d.file.Size)
	return n, err
}

func (d *download) restart() *fetchError {
	d.hash.Reset()
	d.done, d.resumed, d.etag = 0, false, ""
	err := d.target.Truncate(0)
	if err == nil {
		_, err = d.target.Seek(0, io.SeekStart)
	}
	if err != nil {
		return diskError(err)
	}
	return nil
}

func (d *download) verify() *fetchError {
	if sum := hex.EncodeToString(d.hash.Sum(nil)); sum != d.file.SHA256 {
		return fetchFailure("wrong", "its sha256 is %s, expected %s", sum, d.file.SHA256)
	}
	return nil
}

// withProgress adds how much of the file was received.
func (d *download) withProgress(cause *fetchError) *fetchError {
	return fetchFailure(cause.kind, "%s (%.1f of %.1f MB received)", cause.text, float64(d.done)/1e6, float64(d.file.Size)/1e6)
}

func diskError(err error) *fetchError {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fetchFailure("disk", "the disk filled up")
	}
	return fetchFailure("folder", "%v", err)
}
