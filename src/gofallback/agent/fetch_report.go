package main

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode"
)

// reporter writes the lines of `fetch`, without secrets.
type reporter struct {
	out          io.Writer
	secrets      []string
	lock         sync.Mutex
	lastProgress time.Time
}

func (r *reporter) line(words ...string) {
	r.lock.Lock()
	defer r.lock.Unlock()
	text := ""
	for i, word := range words {
		if i > 0 {
			text += "\t"
		}
		text += printable(redact(word, r.secrets))
	}
	fmt.Fprintln(r.out, text)
}

func (r *reporter) failed(failure *fetchError) { r.line("fail", failure.kind, failure.text) }

func (r *reporter) progress(done, of int64) {
	if now := time.Now(); r.lastProgress.IsZero() {
		r.lastProgress = now
	} else if now.Sub(r.lastProgress) >= progressInterval {
		r.lastProgress = now
		r.line("progress", fmt.Sprint(done), fmt.Sprint(of))
	}
}

// secrets are the parts of the request that must not appear in any line.
func (f *FetchRequest) secrets() []string {
	var found []string
	for _, file := range f.Files {
		for _, value := range file.Headers {
			found = append(found, value)
			if _, word, two := strings.Cut(value, " "); two {
				found = append(found, word)
			}
		}
		if _, query, signed := strings.Cut(file.URL, "?"); signed {
			found = append(found, query)
		}
	}
	if proxy, err := url.Parse(f.Proxy); err == nil {
		if password, given := proxy.User.Password(); given {
			found = append(found, password)
		}
	}
	return found
}

func redact(text string, secrets []string) string {
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	return text
}

func printable(text string) string {
	return shorten(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text))
}
