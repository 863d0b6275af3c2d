package main

import (
	"os"
	"strconv"
	"strings"
	"time"
)

const cancelLimit = 10 * time.Second

// cancel ends one job or all that are alive, with every process of theirs, and tells each in a line as `list` does.
func cancel(root, id string) int {
	var asked []folder
	for _, job := range jobs(root) {
		if found, ok := job.read(); ok && (id == "all" || id == job.id) && job.alive() {
			job.mark("cancel", found.instance)
			asked = append(asked, job)
		}
	}
	code := exitOK
	for began := time.Now(); len(asked) > 0; time.Sleep(lookEvery) {
		var left []folder
		for _, job := range asked {
			if job.alive() {
				left = append(left, job)
				continue
			}
			os.Stdout.WriteString(job.line())
		}
		asked = left
		if time.Since(began) > 2*cancelLimit {
			for _, job := range asked {
				code = trouble(job.id+" does not end", nil)
			}
			break
		}
		if time.Since(began) > cancelLimit {
			for _, job := range asked {
				if found, ok := job.read(); ok && found.state == "running" {
					killWatcher(found)
					sweep(found.instance)
				}
			}
		}
	}
	return code
}

// list tells every job in a line of fields apart by tabs.
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
		if again, ok := f.read(); ok && again.state == "ended" {
			found = again
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
