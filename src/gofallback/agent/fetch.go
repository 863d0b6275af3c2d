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

// Fetch is what `fetch` reads, as one line of its standard input: addresses may be signed and headers hold tokens, so
// that they stand in no argument, variable or file.
type Fetch struct {
	Files []FetchFile `json:"files"`
	// Timeout is how long the store may be silent.
	Timeout Seconds `json:"timeout"`
	// Deadline is how long all of it may take.
	Deadline Seconds `json:"deadline"`
	// Attempts without any progress.
	Attempts int `json:"attempts"`
	// CA holds PEM certificates besides the system's.
	CA string `json:"ca"`
	// Proxy stands in place of what the environment says.
	Proxy string `json:"proxy"`
}

// FetchFile is one file: where from, where to, and what it has to be.
type FetchFile struct {
	Path    string            `json:"path"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	SHA256  string            `json:"sha256"`
	Size    int64             `json:"size"`
}

// fetchError is why a file did not come. Its kind tells the controller what to make of it.
type fetchError struct {
	// down (may pass), refused, absent, store, tls, wrong, deadline; disk, request, gone
	kind, text string
	after      time.Duration // the store asked to wait
}

func (e *fetchError) Error() string { return e.text }

func (e *fetchError) passes() bool { return e.kind == "down" }

func cannot(kind, format string, words ...any) *fetchError {
	return &fetchError{kind: kind, text: fmt.Sprintf(format, words...)}
}

const (
	// tellEvery is how often a slow download says how far it is.
	tellEvery = 5 * time.Second
	// requestLimit is far more than a request has with its certificates.
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

// fetchFrom answers in lines: `fetched TAB path TAB bytes`, `progress TAB bytes TAB of`, `note TAB text`, and `fail TAB kind TAB text`.
func fetchFrom(ctx context.Context, in io.Reader, out io.Writer) int {
	line, err := bufio.NewReader(io.LimitReader(in, requestLimit)).ReadBytes('\n')
	var request Fetch
	if err == nil { // a tar that ended before its padding leaves zeros
		err = json.Unmarshal(bytes.TrimLeft(line, "\x00"), &request)
	}
	if err == nil {
		err = request.validate()
	}
	tell := &teller{out: out}
	if err != nil {
		// Not quoted: it holds the token.
		tell.failed(cannot("request", "the request was not understood: %s", errorKind(err)))
		return exitRefused
	}
	tell.secrets = request.secrets()
	ctx, cancel := context.WithTimeoutCause(ctx, request.Deadline.Duration(),
		cannot("deadline", "not done within %g s", request.Deadline))
	defer cancel()
	ctx, gone := context.WithCancelCause(ctx)
	go func() { // the controller keeps it open as long as it wants the file
		_, _ = io.Copy(io.Discard, in)
		gone(cannot("gone", "the controller went away"))
	}()
	if failure := request.run(ctx, tell); failure != nil {
		tell.failed(failure)
		return exitUnhealthy
	}
	return exitOK
}

// errorKind says what is wrong with a request without a word of it.
func errorKind(err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return "no JSON"
	case errors.As(err, &kind):
		return kind.Field + " is of another type"
	case errors.Is(err, io.EOF):
		return "no line on standard input"
	}
	return err.Error()
}

func (f *Fetch) validate() error {
	if f.Timeout <= 0 || f.Deadline <= 0 || f.Attempts < 1 || len(f.Files) == 0 {
		return errors.New("files, timeout, deadline or attempts are missing")
	}
	for _, file := range f.Files {
		if !filepath.IsAbs(file.Path) || !digestPattern.MatchString(file.SHA256) || file.Size < 0 {
			return errors.New("path, sha256 or size of a file cannot be")
		}
	}
	return nil
}

func (f *Fetch) run(ctx context.Context, tell *teller) *fetchError {
	client, failure := newStoreClient(f)
	if failure != nil {
		return failure
	}
	for _, file := range f.Files {
		if failure := client.fetch(ctx, file, tell); failure != nil {
			return failure
		}
		tell.line("fetched", file.Path, fmt.Sprint(file.Size))
	}
	return nil
}

// fetch brings one file, in as many attempts as it takes, each from where the last one ended.
func (c *storeClient) fetch(ctx context.Context, file FetchFile, tell *teller) *fetchError {
	target, err := os.OpenFile(file.Path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return diskError(err)
	}
	download := &download{file: file, target: target, hash: sha256.New(), tell: tell}
	failure := c.persist(ctx, download)
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

func (c *storeClient) persist(ctx context.Context, d *download) *fetchError {
	for attempt := 1; ; {
		before := d.done
		failure := c.attempt(ctx, d)
		if failure == nil {
			failure = d.check()
		}
		if failure == nil {
			return nil
		}
		if failure.kind == "wrong" && d.resumed && !d.again {
			// What was put together from several answers may have been several files: once more, in one piece.
			d.tell.line("note", "it came in several pieces and is another file; once more from the beginning")
			d.again = true
			if failure := d.restart(); failure != nil {
				return failure
			}
			continue
		}
		if cause := endOf(ctx); cause != nil {
			return d.late(cause)
		}
		if !failure.passes() {
			return failure
		}
		if d.done-before >= enoughProgress {
			attempt = 1
		}
		if attempt >= c.request.Attempts {
			failure.text += times(attempt)
			return failure
		}
		wait := pause(attempt, failure.after)
		d.tell.line("note", fmt.Sprintf("%s; again in %.1f s (attempt %d of %d)", failure.text, wait.Seconds(), attempt, c.request.Attempts))
		attempt++
		if err := (realClock{}).Sleep(ctx, wait); err != nil {
			return d.late(endOf(ctx))
		}
	}
}

// endOf is why nothing more is to be done: the deadline, a signal, or a controller that went away.
func endOf(ctx context.Context) *fetchError {
	if ctx.Err() == nil {
		return nil
	}
	var cause *fetchError
	if errors.As(context.Cause(ctx), &cause) {
		return cause
	}
	return cannot("gone", "stopped")
}

func times(attempts int) string {
	if attempts == 1 {
		return "; tried once"
	}
	return fmt.Sprintf("; tried %d times", attempts)
}

// download is one file on its way.
type download struct {
	file    FetchFile
	target  *os.File
	hash    hash.Hash
	tell    *teller
	done    int64
	etag    string
	resumed bool
	again   bool
}

// Write keeps the sum of what is on the disk.
func (d *download) Write(data []byte) (int, error) {
	n, err := d.target.Write(data)
	_, _ = d.hash.Write(data[:n])
	d.done += int64(n)
	d.tell.progress(d.done, d.file.Size)
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

func (d *download) check() *fetchError {
	if sum := hex.EncodeToString(d.hash.Sum(nil)); sum != d.file.SHA256 {
		return cannot("wrong", "sha256 %s there, %s expected", sum, d.file.SHA256)
	}
	return nil
}

// late adds how far it came.
func (d *download) late(cause *fetchError) *fetchError {
	return cannot(cause.kind, "%s (%.1f of %.1f MB came)", cause.text, float64(d.done)/1e6, float64(d.file.Size)/1e6)
}

func diskError(err error) *fetchError {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return cannot("disk", "the disk filled up")
	}
	return cannot("folder", "%v", err)
}
