package main

import (
	"os"
	"strconv"
	"strings"
	"time"
)

const cancelTimeout = 10 * time.Second

// cancel ends one job, or all that are alive, with all their processes, and prints each ended job as `list` does.
func cancel(root, id string) int {
	var pending []folder
	for _, job := range jobs(root) {
		if found, ok := job.read(); ok && (id == "all" || id == job.id) && job.alive() {
			job.mark("cancel", found.instance)
			pending = append(pending, job)
		}
	}
	code := exitOK
	for began := time.Now(); len(pending) > 0; time.Sleep(pollInterval) {
		var left []folder
		for _, job := range pending {
			if job.alive() {
				left = append(left, job)
				continue
			}
			os.Stdout.WriteString(job.line())
		}
		pending = left
		if time.Since(began) > 2*cancelTimeout {
			for _, job := range pending {
				code = failed(job.id+" does not end", nil)
			}
			break
		}
		if time.Since(began) > cancelTimeout {
			for _, job := range pending {
				if found, ok := job.read(); ok && found.state == "running" {
					killWatcher(found)
					sweep(found.instance)
				}
			}
		}
	}
	return code
}

// list prints every job as a line of fields separated by tabs.
func list(root string) int {
	for _, job := range jobs(root) {
		os.Stdout.WriteString(job.line())
	}
	return exitOK
}

func (f folder) line() string {
	found, ok := f.read()
	if !ok {
		return ""
	}
	if found.state == "running" && !f.alive() {
		if reread, ok := f.read(); ok && reread.state == "ended" {
			found = reread
		} else {
			found.state, found.how = "ended", "dead"
		}
	}
	size := int64(0)
	if info, err := os.Stat(f.log(found.instance)); err == nil {
		size = info.Size()
	}
	fields := []string{
		"@job", f.id, found.state, found.how, strconv.FormatUint(uint64(found.code), 10), milliseconds(found.started),
		milliseconds(found.ended), strconv.FormatInt(size, 10), found.instance, found.label,
	}
	return strings.Join(fields, "\t") + "\n"
}
