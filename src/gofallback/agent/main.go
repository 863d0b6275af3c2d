// Command gofallback-agent does on a target what must not depend on the controller's connection:
// it checks a service's health, switches a release, and goes back by itself. See docs/agent.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
)

// Exit statuses, the same for every subcommand that speaks of an activation.
const (
	exitOK          = 0
	exitUnhealthy   = 1
	exitRefused     = 2
	exitReverted    = 3
	exitFailed      = 4
	exitInterrupted = 5
	exitTimeout     = 6
)

// version is stamped by the builder: -X main.version=...
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

func versionCommand(_ []string, _ Paths, out io.Writer) (int, error) {
	toolchain := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		toolchain = info.GoVersion
	}
	fmt.Fprintf(out, "gofallback-agent %s (%s)\n", version, toolchain)
	return exitOK, nil
}

// serviceFlag reads the arguments of a command that takes -service and nothing else.
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
