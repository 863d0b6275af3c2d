// Command gofallback-agent does on a target what must not depend on the controller's connection: it checks a service's
// health, switches a release, and reverts it when the gate or the confirmation fails. See docs/agent.md.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
)

// Exit statuses of every subcommand that reports an activation.
const (
	exitOK          = 0
	exitUnhealthy   = 1
	exitRefused     = 2
	exitReverted    = 3
	exitFailed      = 4
	exitInterrupted = 5
	exitTimeout     = 6
)

// version is set by the builder: -X main.version=...
var version = "unstamped"

var commands = map[string]func(args []string, paths Paths, out io.Writer) (int, error){
	"activate": activateCommand,
	"check":    checkCommand,
	"confirm":  confirmCommand,
	"deadman":  deadmanCommand,
	"fetch":    fetchCommand,
	"follow":   followCommand,
	"recover":  recoverCommand,
	"revert":   revertCommand,
	"state":    stateCommand,
	"version":  versionCommand,
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, out, errs io.Writer) int {
	if len(args) == 0 || commands[args[0]] == nil {
		fmt.Fprintln(errs, "gofallback-agent: expected one of: activate, check, confirm, deadman, fetch, follow, recover, revert, state, version")
		return exitRefused
	}
	code, err := commands[args[0]](args[1:], defaultPaths(), out)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if err != nil {
		fmt.Fprintf(errs, "gofallback-agent %s: %v\n", args[0], err)
	}
	return code
}

// printOutcome prints the run's record as one line of JSON.
func printOutcome(record *Record, err error, out io.Writer) (int, error) {
	if record == nil {
		return exitRefused, err
	}
	line, _ := json.Marshal(record.summary())
	fmt.Fprintf(out, "%s\n", line)
	return record.exitCode(), err
}

func versionCommand(_ []string, _ Paths, out io.Writer) (int, error) {
	toolchain := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		toolchain = info.GoVersion
	}
	fmt.Fprintf(out, "gofallback-agent %s (%s)\n", version, toolchain)
	return exitOK, nil
}

// serviceFlag parses the arguments of a command that takes only -service.
func serviceFlag(name string, args []string) (string, error) {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	service := flags.String("service", "", "name of the service")
	if err := flags.Parse(args); err != nil {
		return "", err
	}
	if !namePattern.MatchString(*service) {
		return "", fmt.Errorf("-service: expected a name, got %q", *service)
	}
	return *service, nil
}
