package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// teller writes the answer's lines, without secrets.
type teller struct {
	out     io.Writer
	secrets []string
	lock    sync.Mutex
	told    time.Time
}

func (t *teller) line(words ...string) {
	t.lock.Lock()
	defer t.lock.Unlock()
	text := ""
	for i, word := range words {
		if i > 0 {
			text += "\t"
		}
		text += printable(hidden(word, t.secrets))
	}
	fmt.Fprintln(t.out, text)
}

func (t *teller) failed(failure *fetchError) { t.line("fail", failure.kind, failure.text) }

func (t *teller) progress(done, of int64) {
	if now := time.Now(); t.told.IsZero() {
		t.told = now
	} else if now.Sub(t.told) >= tellEvery {
		t.told = now
		t.line("progress", fmt.Sprint(done), fmt.Sprint(of))
	}
}
