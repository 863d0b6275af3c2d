// Command gofallback-keeper runs a build on a builder so that it outlives the SSH connection that requested it.
//
// `run` starts a detached job (or joins the one that is alive) and follows it; `follow` continues where a broken
// connection stopped; `cancel` ends jobs with all their processes; `list` prints them. See docs/detached-builds.md. The
// imports are few: the keeper is compiled on every fresh builder.
package main

import (
	"os"
	"strconv"
	"time"
)

// Exit codes. The job's own exit code comes in the last frame, never here.
const (
	exitOK       = 0
	exitFailed   = 70 // the keeper itself failed
	exitAttached = 71 // the host lets no process outlive its connection: run the command attached
	exitUsage    = 64
)

const usage = `gofallback-keeper: expected one of:
  run JOBS ID FOLLOWER < job    start or join a job and follow it
  follow JOBS ID FOLLOWER INSTANCE OFFSET
  cancel JOBS ID|all
  list JOBS
`

func main() {
	os.Exit(command(os.Args[1:]))
}

func command(arguments []string) int {
	argument := func(number int) string {
		if number < len(arguments) {
			return arguments[number]
		}
		return ""
	}
	switch {
	case argument(0) == "run" && len(arguments) == 4 && validID(argument(2)):
		return run(folder{argument(1), argument(2)}, argument(3))
	case argument(0) == "serve" && len(arguments) == 4 && validID(argument(2)):
		return serve(folder{argument(1), argument(2)}, argument(3))
	case argument(0) == "follow" && len(arguments) == 6 && validID(argument(2)):
		offset, err := strconv.ParseInt(argument(5), 10, 64)
		if err == nil && offset >= 0 {
			return follow(folder{argument(1), argument(2)}, argument(3), argument(4), offset)
		}
	case argument(0) == "cancel" && len(arguments) == 3 && (argument(2) == "all" || validID(argument(2))):
		return cancel(argument(1), argument(2))
	case argument(0) == "list" && len(arguments) == 2:
		return list(argument(1))
	}
	os.Stderr.WriteString(usage)
	return exitUsage
}

// failed reports in one line why the keeper gives up.
func failed(what string, err error) int {
	if err != nil {
		what += ": " + err.Error()
	}
	os.Stderr.WriteString("gofallback-keeper: " + what + "\n")
	return exitFailed
}

// validID accepts names that are one harmless folder name on every system.
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
