package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	version    = "gofallback-job 1"
	keepFor    = 7 * 24 * time.Hour
	staleAfter = 24 * time.Hour // age of an unfinished output that is removed: longer than any build takes
	keepAtMost = 60
)

// folder is the folder of one job. `lock` is held while the job is alive, `status` has its state, `log-INSTANCE` its output;
// `cancel` names the instance that is to end, `taken` the instance whose end was reported, and the follower that got it.
type folder struct {
	jobs, id string
}

func (f folder) path(name string) string { return filepath.Join(f.jobs, f.id, name) }
func (f folder) log(instance string) string {
	return f.path("log-" + instance)
}

// status is the state of a job's newest instance.
type status struct {
	instance string // process id and creation time of its watcher
	pid      int
	child    int    // of the command itself
	state    string // running, ended
	how      string // exit, timeout, cancelled, failed; dead: its watcher is gone and wrote no status
	code     uint32
	started  time.Time
	ended    time.Time
	timeout  time.Duration
	label    string
	product  string
	reason   string
}

func (s status) text() string {
	lines := []string{
		version,
		"instance " + s.instance,
		"pid " + strconv.Itoa(s.pid),
		"child " + strconv.Itoa(s.child),
		"state " + s.state,
		"how " + s.how,
		"code " + strconv.FormatUint(uint64(s.code), 10),
		"started " + milliseconds(s.started),
		"ended " + milliseconds(s.ended),
		"timeout " + strconv.FormatInt(s.timeout.Milliseconds(), 10),
		"label " + s.label,
		"product " + s.product,
		"reason " + oneLine(s.reason),
	}
	return strings.Join(lines, "\n") + "\n"
}

func parseStatus(text string) (status, bool) {
	var found status
	lines := strings.Split(text, "\n")
	if lines[0] != version || !strings.HasSuffix(text, "\n") {
		return found, false
	}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, " ")
		number, _ := strconv.ParseInt(value, 10, 64)
		switch name {
		case "instance":
			found.instance = value
		case "pid":
			found.pid = int(number)
		case "child":
			found.child = int(number)
		case "state":
			found.state = value
		case "how":
			found.how = value
		case "code":
			found.code = uint32(number)
		case "started":
			found.started = time.UnixMilli(number)
		case "ended":
			found.ended = time.UnixMilli(number)
		case "timeout":
			found.timeout = time.Duration(number) * time.Millisecond
		case "label":
			found.label = value
		case "product":
			found.product = value
		case "reason":
			found.reason = value
		}
	}
	return found, found.instance != ""
}

func (f folder) read() (status, bool) {
	data, err := os.ReadFile(f.path("status"))
	if err != nil {
		return status{}, false
	}
	return parseStatus(string(data))
}

// write replaces the status in one step. A scanner may have the old one open for a moment, as may a follower.
func (f folder) write(s status) error {
	part := f.path("status.part")
	err := os.WriteFile(part, []byte(s.text()), 0o600)
	for try := 0; err == nil && try < 40; try++ {
		if err = os.Rename(part, f.path("status")); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
		if try < 39 {
			err = nil
		}
	}
	return err
}

// alive reports whether the job has a watcher. The kernel releases the lock whatever ends the watcher, a power cut
// included, so no process id can be mistaken for another.
func (f folder) alive() bool {
	held, err := lock(f.path("lock"), false)
	if err != nil {
		return !os.IsNotExist(err)
	}
	held.Close()
	return false
}

func (f folder) mark(name, instance string) {
	os.WriteFile(f.path(name), []byte(instance), 0o600)
}

// claim is true for the first of all followers of an instance that gets its end, on each of that follower's connections:
// the report on a broken connection may not have arrived.
func (f folder) claim(instance, follower string) bool {
	file, err := os.OpenFile(f.path("taken"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return f.marked("taken", instance+" "+follower)
	}
	defer file.Close()
	file.WriteString(instance + " " + follower)
	return true
}

// reported reports whether a follower got the end of an instance.
func (f folder) reported(instance string) bool {
	data, err := os.ReadFile(f.path("taken"))
	return err == nil && strings.HasPrefix(string(data), instance+" ")
}

func (f folder) marked(name, instance string) bool {
	data, err := os.ReadFile(f.path(name))
	return err == nil && string(data) == instance
}

// jobs lists the jobs of a builder by name.
func jobs(root string) []folder {
	entries, _ := os.ReadDir(root)
	var found []folder
	for _, entry := range entries {
		if entry.IsDir() && validID(entry.Name()) {
			found = append(found, folder{root, entry.Name()})
		}
	}
	return found
}

// prune removes jobs that ended long ago, and the oldest jobs beyond keepAtMost.
func prune(root, but string, now time.Time) {
	all := jobs(root)
	age := func(f folder) time.Duration {
		if known, ok := f.read(); ok {
			return now.Sub(known.started)
		}
		if info, err := os.Stat(f.path(".")); err == nil {
			return now.Sub(info.ModTime())
		}
		return 0
	}
	ages := make([]time.Duration, len(all))
	for number, one := range all {
		ages[number] = age(one)
	}
	for number, one := range all {
		younger := 0
		for _, other := range ages {
			if other < ages[number] {
				younger++
			}
		}
		if one.id != but && (ages[number] > keepFor || younger >= keepAtMost) && !one.alive() {
			os.RemoveAll(one.path("."))
		}
	}
}

// sweepOutputs removes unfinished outputs of builds, and of the keeper's own compilation: their run was killed, or another
// run made the same output. A folder stays, however old, while a living job makes its product in it.
func sweepOutputs(root, tmp string, now time.Time) {
	inUse := map[string]bool{}
	for _, job := range jobs(root) {
		if found, ok := job.read(); ok && found.product != "" && job.alive() {
			inUse[filepath.Base(filepath.Dir(found.product))] = true
		}
	}
	entries, _ := os.ReadDir(tmp)
	for _, entry := range entries {
		info, err := entry.Info()
		kind, _, _ := strings.Cut(entry.Name(), "-")
		ours := kind == "build" || kind == "generated" || kind == "keeper"
		if err == nil && ours && entry.IsDir() && !inUse[entry.Name()] && now.Sub(info.ModTime()) > staleAfter {
			os.RemoveAll(filepath.Join(tmp, entry.Name()))
		}
	}
}
