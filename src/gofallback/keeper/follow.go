package main

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

const (
	lookEvery  = 50 * time.Millisecond
	probeEvery = 1 * time.Second
	startLimit = 20 * time.Second
)

// frame writes one frame of the answer: a head `kind length\n`, then the bytes. What lies between the first frame (`h`)
// and the last one (`x`) is the log as it is on disk, so that its bytes can be counted.
func frame(to io.Writer, kind, text string) error {
	_, err := io.WriteString(to, kind+" "+strconv.Itoa(len(text))+"\n"+text)
	return err
}

// run starts the job unless it is alive, or has ended well and nobody has seen to it, and follows it from its beginning.
func run(job folder, who string) int {
	data, err := readAll(os.Stdin)
	if err != nil {
		return trouble("the job cannot be read", err)
	}
	asked, err := parseRequest(data)
	if err != nil {
		return trouble("the job cannot be read", err)
	}
	if err := os.MkdirAll(job.path("."), 0o700); err != nil {
		return trouble("no folder for the job", err)
	}
	way := "joined"
	known, code := status{}, exitOK
	switch found, there := job.read(); {
	case there && found.state == "running" && job.alive():
		known = found
	case there && job.reusable(found, asked.product):
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
		return exitTrouble
	}
	return tail(job, who, known.instance, 0)
}

// reusable tells whether an ended job need not be run again: it ended well, and what it made is still where it made it;
// one that makes nothing counts until somebody has been told.
func (f folder) reusable(found status, product string) bool {
	if found.state != "ended" || found.how != "exit" || found.code != 0 || f.alive() || product != found.product {
		return false
	}
	if product == "" && f.told(found.instance) {
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

// start makes the watcher, which outlives this process, hands it the job, and waits until it has said that it began.
// Another controller may have been faster: then its job is the one, even if it has ended by now. `seen` is the instance
// that the job had when it was looked at.
func start(job folder, data []byte, seen string) (status, string, int) {
	watcher, err := detach(job, data, seen)
	if err != nil {
		if breakawayRefused(err) {
			trouble("this host lets no process outlive its connection", err)
			return status{}, "", exitAttached
		}
		return status{}, "", trouble("the watcher cannot be started", err)
	}
	ended := make(chan bool, 1)
	go func() {
		watcher.Wait()
		ended <- true
	}()
	gone := false
	for began := time.Now(); time.Since(began) < startLimit; time.Sleep(lookEvery / 5) {
		free := gone && !job.alive()
		found, ok := job.read() // after the look at the lock: what was free then has said all that it will say
		if ok && found.instance != seen && found.pid == watcher.Pid {
			return found, "started", exitOK
		}
		if gone && ok && found.instance != seen {
			return found, "joined", exitOK
		}
		if free {
			break
		}
		select {
		case <-ended:
			gone = true
		default:
		}
	}
	watcher.Kill() // nothing may begin once its controller has been told that it did not
	return status{}, "", trouble("the watcher did not begin (see "+job.path("trouble")+")", nil)
}

// follow goes on after a broken connection, from a byte of the log of one certain instance of the job.
func follow(job folder, who, instance string, offset int64) int {
	if _, err := os.Stat(job.log(instance)); err != nil {
		return trouble("no such job", err)
	}
	return tail(job, who, instance, offset)
}

// tail copies the log as it grows, then the status as the last frame.
func tail(job folder, who, instance string, offset int64) int {
	file, err := os.Open(job.log(instance))
	if err != nil {
		return trouble("the log cannot be read", err)
	}
	defer file.Close()
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return trouble("the log cannot be read", err)
	}
	last := status{}
	over := false
	probe := time.Now().Add(probeEvery)
	buffer := make([]byte, 64<<10)
	for {
		count, err := file.Read(buffer)
		if count > 0 {
			if _, err := os.Stdout.Write(buffer[:count]); err != nil {
				return exitTrouble // nobody reads any more; the job goes on
			}
			continue
		}
		if err != nil && err != io.EOF {
			return trouble("the log cannot be read", err)
		}
		if over {
			break
		}
		time.Sleep(lookEvery)
		found, ok := job.read()
		switch {
		case ok && found.instance == instance && found.state == "ended":
			last, over = found, true
		case ok && found.instance != instance:
			last, over = status{instance: instance, state: "ended", how: "dead", reason: "another one was started since"}, true
		case time.Now().After(probe) && !job.alive():
			again, ok := job.read() // it may have ended between the two looks
			if ok && again.instance == instance && again.state == "ended" {
				last = again
			} else {
				last = found
				last.instance, last.state, last.how = instance, "ended", "dead"
				last.reason = "it ended without a word: the host was restarted, or its watcher killed"
			}
			over = true
		case time.Now().After(probe):
			probe = time.Now().Add(probeEvery)
		}
	}
	told := "first"
	if !job.claim(instance, who) {
		told = "before" // somebody else who follows will see to what the job made
	}
	if frame(os.Stdout, "x", "told "+told+"\n"+last.text()) != nil {
		return exitTrouble
	}
	return exitOK
}
