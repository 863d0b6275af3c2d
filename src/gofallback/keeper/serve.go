package main

import (
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	logLimit  = 64 << 20
	reserve   = 256 << 10        // bytes of disk kept back for the last words of a job and its status
	lastWords = reserve - 64<<10 // so many bytes of them: what is left holds the status, in blocks of any size
	endsAfter = 10 * time.Second // how long streams may stay open after every process is gone
)

// logger writes what the command says as frames `stream milliseconds length\n` + bytes, as they come. What a full disk
// does not take waits for the end, when a reserve is given up for it: the words about a full disk are what counts then.
type logger struct {
	mutex   sync.Mutex
	file    *os.File
	size    int64
	full    bool
	waiting []byte
	secrets []string
}

func (l *logger) write(stream string, data []byte) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.full || len(data) == 0 {
		return
	}
	if l.size+int64(len(data)) > logLimit {
		l.full = true
		data = []byte("gofallback-keeper: more than " + strconv.Itoa(logLimit>>20) + " MiB of output: the rest is left out\n")
	}
	frame := append([]byte(stream+" "+milliseconds(time.Now())+" "+strconv.Itoa(len(data))+"\n"), data...)
	l.size += int64(len(frame))
	if len(l.waiting) > 0 || !l.append(frame) {
		if len(l.waiting)+len(frame) <= lastWords {
			l.waiting = append(l.waiting, frame...)
		}
	}
}

// append writes all of it or nothing.
func (l *logger) append(data []byte) bool {
	before, err := l.file.Seek(0, io.SeekEnd)
	if err != nil {
		return false
	}
	if _, err := l.file.Write(data); err != nil {
		l.file.Truncate(before)
		return false
	}
	return true
}

func (l *logger) finish() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if len(l.waiting) > 0 {
		l.append(l.waiting)
		l.waiting = nil
	}
	l.full = true
}

// carry copies one stream of the command into the log. With secrets it waits for whole lines, to see them all.
func (l *logger) carry(stream string, from *os.File, done *sync.WaitGroup) {
	defer done.Done()
	buffer := make([]byte, 32<<10)
	var rest []byte
	for {
		count, err := from.Read(buffer)
		data := buffer[:count]
		if len(l.secrets) > 0 {
			rest = append(rest, data...)
			cut := strings.LastIndexByte(string(rest), '\n') + 1
			if err != nil || len(rest) > 1<<20 {
				cut = len(rest)
			}
			data = l.masked(rest[:cut])
			rest = append([]byte{}, rest[cut:]...)
		}
		l.write(stream, data)
		if err != nil {
			return
		}
	}
}

func (l *logger) masked(data []byte) []byte {
	text := string(data)
	for _, secret := range l.secrets {
		text = strings.ReplaceAll(text, secret, "***")
	}
	return []byte(text)
}

// serve is the watcher: a process of its own, outside of every session, that runs one job to its end. One job has one
// watcher: whoever does not get the lock leaves at once, and so does who gets it after another one's job: that has an
// instance that was not seen.
func serve(job folder, seen string) int {
	data, err := readAll(os.Stdin)
	os.Stdin.Close()
	if err != nil {
		return job.fail("the job cannot be read", err)
	}
	asked, err := parseRequest(data)
	if err != nil {
		return job.fail("the job cannot be read", err)
	}
	held, err := lock(job.path("lock"), true)
	if err != nil {
		return exitTrouble // somebody else watches over it
	}
	defer held.Close()
	before, known := job.read()
	if known && before.instance != seen {
		return exitTrouble // whoever waits for this one follows that one
	}
	if known && before.state == "running" {
		sweep(before.instance) // its watcher was killed: nothing of it may write into the same output
	}
	job.clear()
	now := status{pid: os.Getpid(), instance: ownInstance(), state: "running", started: time.Now()}
	now.label, now.product, now.timeout = asked.label, asked.product, asked.timeout
	file, err := os.OpenFile(job.log(now.instance), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return job.fail("no log", err)
	}
	defer file.Close()
	if err := job.write(now); err != nil {
		return job.fail("no status", err)
	}
	log := &logger{file: file, secrets: asked.secrets}
	os.WriteFile(job.path("reserve"), make([]byte, reserve), 0o600)
	job.watch(&now, asked, log)
	os.Remove(job.path("reserve"))
	log.finish()
	now.state, now.ended = "ended", time.Now()
	if err := job.write(now); err != nil {
		return job.fail("no status", err)
	}
	return exitOK
}

// watch runs the command and fills in how it ended.
func (f folder) watch(now *status, asked request, log *logger) {
	out, outEnd, err := os.Pipe()
	if err == nil {
		var errs, errsEnd, in, inEnd *os.File
		if errs, errsEnd, err = os.Pipe(); err == nil {
			if inEnd, in, err = os.Pipe(); err == nil {
				f.watchProcess(now, asked, log, [3]*os.File{inEnd, outEnd, errsEnd}, in, out, errs)
				return
			}
		}
	}
	now.how, now.code, now.reason = "failed", 1, err.Error()
}

func (f folder) watchProcess(now *status, asked request, log *logger, ends [3]*os.File, in, out, errs *os.File) {
	env := environment(os.Environ(), asked.environment)
	env = append(env, marker+now.instance)
	tree, err := startTree(asked.line, asked.directory, env, ends)
	for _, end := range ends {
		end.Close()
	}
	if err != nil {
		in.Close()
		now.how, now.code, now.reason = "failed", 1, "the command cannot be started: "+err.Error()
		return
	}
	now.child = tree.pid
	f.write(*now)
	var streams sync.WaitGroup
	streams.Add(2)
	go log.carry("o", out, &streams)
	go log.carry("e", errs, &streams)
	go func() {
		in.Write(asked.input)
		in.Close()
	}()
	ended := make(chan uint32, 1)
	go func() { ended <- tree.wait() }()
	over := time.After(asked.timeout)
	look := time.NewTicker(4 * lookEvery)
	defer look.Stop()
	for now.how == "" {
		select {
		case now.code = <-ended:
			now.how = "exit"
		case <-over:
			now.how, now.code = "timeout", 1
		case <-look.C:
			if f.marked("cancel", now.instance) {
				now.how, now.code = "cancelled", 1
			}
		}
	}
	tree.kill(now.instance) // what the command left behind ends with it, as it does in sshd's own job
	closed := make(chan bool)
	go func() { streams.Wait(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(endsAfter):
	}
}

// fail leaves a line where the one who started the watcher finds it: it has no screen.
func (f folder) fail(what string, err error) int {
	os.WriteFile(f.path("trouble"), []byte(what+": "+err.Error()+"\n"), 0o600)
	return exitTrouble
}

// clear removes what earlier instances left; what somebody still reads stays until the next time.
func (f folder) clear() {
	entries, _ := os.ReadDir(f.path("."))
	for _, entry := range entries {
		if entry.Name() != "lock" && entry.Name() != "status" {
			os.Remove(f.path(entry.Name()))
		}
	}
}
