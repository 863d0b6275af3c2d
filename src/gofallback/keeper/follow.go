package main

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

const (
	pollInterval  = 50 * time.Millisecond
	probeInterval = 1 * time.Second
	startTimeout  = 20 * time.Second
)

// frame writes one frame of the answer: a head `kind length\n`, then the bytes. Between the first frame (`h`) and the last
// one (`x`) the answer is the log as it is on the disk, so that its bytes can be counted.
func frame(to io.Writer, kind, text string) error {
	_, err := io.WriteString(to, kind+" "+strconv.Itoa(len(text))+"\n"+text)
	return err
}

// run starts the job unless it is alive, or has ended well and its result is reusable; it follows the job from its start.
func run(job folder, follower string) int {
	data, err := readAll(os.Stdin)
	if err != nil {
		return failed("the job cannot be read", err)
	}
	requested, err := parseRequest(data)
	if err != nil {
		return failed("the job cannot be read", err)
	}
	if err := os.MkdirAll(job.path("."), 0o700); err != nil {
		return failed("no folder for the job", err)
	}
	way := "joined"
	known, code := status{}, exitOK
	switch found, there := job.read(); {
	case there && found.state == "running" && job.alive():
		known = found
	case there && job.reusable(found, requested.product):
		way, known = "taken", found
	default:
		prune(job.jobs, job.id, time.Now())
		sweepOutputs(job.jobs, filepath.Join(filepath.Dir(job.jobs), "tmp"), time.Now())
		way = "started"
		if known, way, code = start(job, data, found.instance); code != exitOK {
			return code
		}
	}
	if frame(os.Stdout, "h", "way "+way+"\n"+known.text()) != nil {
		return exitFailed
	}
	return tail(job, follower, known.instance, 0)
}

// reusable reports whether an ended job need not run again: it ended well, and its product is still there; without a
// product, its end was reported to nobody yet.
func (f folder) reusable(found status, product string) bool {
	if found.state != "ended" || found.how != "exit" || found.code != 0 || f.alive() || product != found.product {
		return false
	}
	if product == "" && f.reported(found.instance) {
		return false
	}
	if product != "" {
		if _, err := os.Stat(product); err != nil {
			return false
		}
	}
	_, err := os.Stat(f.log(found.instance))
	return err == nil
}

// start starts the watcher, which outlives this process, passes it the job, and waits until its status shows that it has
// started. Another controller may have been faster: then its instance counts, even if it has ended meanwhile. `last` is
// the instance that the job had before.
func start(job folder, data []byte, last string) (status, string, int) {
	watcher, err := detach(job, data, last)
	if err != nil {
		if breakawayRefused(err) {
			failed("this host lets no process outlive its connection", err)
			return status{}, "", exitAttached
		}
		return status{}, "", failed("the watcher cannot be started", err)
	}
	ended := make(chan bool, 1)
	go func() {
		watcher.Wait()
		ended <- true
	}()
	exited := false
	for began := time.Now(); time.Since(began) < startTimeout; time.Sleep(pollInterval / 5) {
		free := exited && !job.alive()
		found, ok := job.read() // after the check of the lock: a watcher without it writes no status any more
		if ok && found.instance != last && found.pid == watcher.Pid {
			return found, "started", exitOK
		}
		if exited && ok && found.instance != last {
			return found, "joined", exitOK
		}
		if free {
			break
		}
		select {
		case <-ended:
			exited = true
		default:
		}
	}
	watcher.Kill() // it must not start after its controller got the report that it did not
	return status{}, "", failed("the watcher did not start (see "+job.path("trouble")+")", nil)
}

// follow continues after a broken connection, from a byte of the log of one instance of the job.
func follow(job folder, follower, instance string, offset int64) int {
	if _, err := os.Stat(job.log(instance)); err != nil {
		return failed("no such job", err)
	}
	return tail(job, follower, instance, offset)
}

// tail copies the log as it grows, then the status as the last frame.
func tail(job folder, follower, instance string, offset int64) int {
	file, err := os.Open(job.log(instance))
	if err != nil {
		return failed("the log cannot be read", err)
	}
	defer file.Close()
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return failed("the log cannot be read", err)
	}
	last := status{}
	done := false
	probe := time.Now().Add(probeInterval)
	buffer := make([]byte, 64<<10)
	for {
		count, err := file.Read(buffer)
		if count > 0 {
			if _, err := os.Stdout.Write(buffer[:count]); err != nil {
				return exitFailed // the connection is gone; the job goes on
			}
			continue
		}
		if err != nil && err != io.EOF {
			return failed("the log cannot be read", err)
		}
		if done {
			break
		}
		time.Sleep(pollInterval)
		found, ok := job.read()
		switch {
		case ok && found.instance == instance && found.state == "ended":
			last, done = found, true
		case ok && found.instance != instance:
			last, done = status{instance: instance, state: "ended", how: "dead", reason: "the job was started again since"}, true
		case time.Now().After(probe) && !job.alive():
			reread, ok := job.read() // it may have ended between the two checks
			if ok && reread.instance == instance && reread.state == "ended" {
				last = reread
			} else {
				last = found
				last.instance, last.state, last.how = instance, "ended", "dead"
				last.reason = "it ended without a status: the host was restarted, or its watcher was killed"
			}
			done = true
		case time.Now().After(probe):
			probe = time.Now().Add(probeInterval)
		}
	}
	report := "first"
	if !job.claim(instance, follower) {
		report = "before" // another follower got the end first, and handles the product
	}
	if frame(os.Stdout, "x", "told "+report+"\n"+last.text()) != nil {
		return exitFailed
	}
	return exitOK
}
