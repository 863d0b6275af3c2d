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
	logLimit     = 64 << 20
	reserve      = 256 << 10        // bytes of disk kept back for the last output of a job and its status
	pendingLimit = reserve - 64<<10 // bytes of that output: the rest is for the status, in blocks of any size
	streamGrace  = 10 * time.Second // how long streams may stay open after every process is gone
)

// logger writes the command's output as frames `stream milliseconds length\n` + bytes, as it comes. Output that a full
// disk does not take is pending until the end, when a reserve is freed for it: it is the output about the full disk.
type logger struct {
	mutex   sync.Mutex
	file    *os.File
	size    int64
	full    bool
	pending []byte
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
	if len(l.pending) > 0 || !l.append(frame) {
		if len(l.pending)+len(frame) <= pendingLimit {
			l.pending = append(l.pending, frame...)
		}
	}
}

// append writes all of the data or nothing.
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
	if len(l.pending) > 0 {
		l.append(l.pending)
		l.pending = nil
	}
	l.full = true
}

// copyStream copies one stream of the command into the log. With secrets it waits for whole lines, to mask them all.
func (l *logger) copyStream(stream string, from *os.File, done *sync.WaitGroup) {
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

// serve is the watcher: a process of its own, outside of every session, that runs one job to its end. A job has one
// watcher: a process without the lock exits at once. So does one that gets the lock when the job has another instance
// than `last`: another watcher has run the job meanwhile.
func serve(job folder, last string) int {
	data, err := readAll(os.Stdin)
	os.Stdin.Close()
	if err != nil {
		return job.fail("the job cannot be read", err)
	}
	requested, err := parseRequest(data)
	if err != nil {
		return job.fail("the job cannot be read", err)
	}
	held, err := lock(job.path("lock"), true)
	if err != nil {
		return exitFailed // another watcher has the job
	}
	defer held.Close()
	before, known := job.read()
	if known && before.instance != last {
		return exitFailed // the process that waits for this watcher follows the other instance
	}
	if known && before.state == "running" {
		sweep(before.instance) // its watcher was killed: none of its processes may write into the same output
	}
	job.clear()
	now := status{pid: os.Getpid(), instance: ownInstance(), state: "running", started: time.Now()}
	now.label, now.product, now.timeout = requested.label, requested.product, requested.timeout
	file, err := os.OpenFile(job.log(now.instance), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return job.fail("no log", err)
	}
	defer file.Close()
	if err := job.write(now); err != nil {
		return job.fail("no status", err)
	}
	log := &logger{file: file, secrets: requested.secrets}
	os.WriteFile(job.path("reserve"), make([]byte, reserve), 0o600)
	job.watch(&now, requested, log)
	os.Remove(job.path("reserve"))
	log.finish()
	now.state, now.ended = "ended", time.Now()
	if err := job.write(now); err != nil {
		return job.fail("no status", err)
	}
	return exitOK
}

// watch runs the command and records how it ended.
func (f folder) watch(now *status, requested request, log *logger) {
	out, outEnd, err := os.Pipe()
	if err == nil {
		var errs, errsEnd, in, inEnd *os.File
		if errs, errsEnd, err = os.Pipe(); err == nil {
			if inEnd, in, err = os.Pipe(); err == nil {
				f.watchProcess(now, requested, log, [3]*os.File{inEnd, outEnd, errsEnd}, in, out, errs)
				return
			}
		}
	}
	now.how, now.code, now.reason = "failed", 1, err.Error()
}

func (f folder) watchProcess(now *status, requested request, log *logger, ends [3]*os.File, in, out, errs *os.File) {
	env := environment(os.Environ(), requested.environment)
	env = append(env, marker+now.instance)
	tree, err := startTree(requested.line, requested.directory, env, ends)
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
	go log.copyStream("o", out, &streams)
	go log.copyStream("e", errs, &streams)
	go func() {
		in.Write(requested.input)
		in.Close()
	}()
	ended := make(chan uint32, 1)
	go func() { ended <- tree.wait() }()
	timeout := time.After(requested.timeout)
	poll := time.NewTicker(4 * pollInterval)
	defer poll.Stop()
	for now.how == "" {
		select {
		case now.code = <-ended:
			now.how = "exit"
		case <-timeout:
			now.how, now.code = "timeout", 1
		case <-poll.C:
			if f.marked("cancel", now.instance) {
				now.how, now.code = "cancelled", 1
			}
		}
	}
	tree.kill(now.instance) // processes that the command left behind end with it, as in sshd's own job
	closed := make(chan bool)
	go func() { streams.Wait(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(streamGrace):
	}
}

// fail writes a line to a file: the watcher has no screen.
func (f folder) fail(what string, err error) int {
	os.WriteFile(f.path("trouble"), []byte(what+": "+err.Error()+"\n"), 0o600)
	return exitFailed
}

// clear removes the files of earlier instances; a file that is open stays until the next time (Windows).
func (f folder) clear() {
	entries, _ := os.ReadDir(f.path("."))
	for _, entry := range entries {
		if entry.Name() != "lock" && entry.Name() != "status" {
			os.Remove(f.path(entry.Name()))
		}
	}
}
