package main

import (
	"fmt"
	"io"
	"sync"
	"time"
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
