// Command gofallback-keeper runs a build on a builder so that it outlives the SSH connection that asked for it.
//
// `run` starts a job detached (or joins the one that is alive) and follows it; `follow` goes on where a broken
// connection stopped; `cancel` ends jobs with all their processes; `list` tells what there is. See
// docs/detached-builds.md. Only what the smallest program needs is imported: it is compiled on every fresh builder.
package main

import (
	"os"
	"strconv"
	"time"
)

// Exit statuses. The job's own status comes in the last frame, never here.
const (
	exitOK       = 0
	exitTrouble  = 70 // the helper itself cannot do what it was asked
	exitAttached = 71 // the host does not let a process outlive its connection: run the command attached
	exitUsage    = 64
)

const usage = `gofallback-keeper: expected one of:
  run JOBS ID WHO < job    start or join a job and follow it
  follow JOBS ID WHO INSTANCE OFFSET
  cancel JOBS ID|all
  list JOBS
`

func main() {
	os.Exit(command(os.Args[1:]))
}

func command(words []string) int {
	word := func(number int) string {
		if number < len(words) {
			return words[number]
		}
		return ""
	}
	switch {
	case word(0) == "run" && len(words) == 4 && validID(word(2)):
		return run(folder{word(1), word(2)}, word(3))
	case word(0) == "serve" && len(words) == 4 && validID(word(2)):
		return serve(folder{word(1), word(2)}, word(3))
	case word(0) == "follow" && len(words) == 6 && validID(word(2)):
		offset, err := strconv.ParseInt(word(5), 10, 64)
		if err == nil && offset >= 0 {
			return follow(folder{word(1), word(2)}, word(3), word(4), offset)
		}
	case word(0) == "cancel" && len(words) == 3 && (word(2) == "all" || validID(word(2))):
		return cancel(word(1), word(2))
	case word(0) == "list" && len(words) == 2:
		return list(word(1))
	}
	os.Stderr.WriteString(usage)
	return exitUsage
}

// trouble says in one line why the helper gives up.
func trouble(what string, err error) int {
	if err != nil {
		what += ": " + err.Error()
	}
	os.Stderr.WriteString("gofallback-keeper: " + what + "\n")
	return exitTrouble
}

// validID holds for names that are one harmless folder name on every system.
func validID(id string) bool {
	if id == "" || len(id) > 100 || id[0] == '.' || id == "all" {
		return false
	}
	for _, letter := range id {
		plain := letter >= 'a' && letter <= 'z' || letter >= 'A' && letter <= 'Z' || letter >= '0' && letter <= '9'
		if !plain && letter != '-' && letter != '_' && letter != '.' {
			return false
		}
	}
	return true
}

func milliseconds(at time.Time) string {
	if at.IsZero() {
		return "0"
	}
	return strconv.FormatInt(at.UnixMilli(), 10)
}
