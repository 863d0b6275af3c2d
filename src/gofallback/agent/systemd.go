package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Systemd is what the agent needs of the service manager and of its journal.
type Systemd interface {
	// Show reads the state of units; a unit that does not exist has LoadState not-found.
	Show(ctx context.Context, units ...string) (map[string]UnitStatus, error)
	// Control runs one systemctl command to its end.
	Control(ctx context.Context, limit time.Duration, words ...string) error
	// Stopping is true while the host goes down: nothing can be started any more.
	Stopping(ctx context.Context) bool
	// Journal returns the last lines of a unit between two moments.
	Journal(ctx context.Context, unit string, from, to time.Time, lines int) []string
}

// UnitStatus is a part of `systemctl show`.
type UnitStatus struct {
	LoadState, ActiveState, SubState, UnitFileState, Result, InvocationID, ConditionResult string
	Since                                                                                  string
	ExecMainCode, ExecMainStatus, MainPID, NRestarts                                       int
	Job, NeedReload                                                                        bool
	TimeoutStop                                                                            time.Duration
}

const properties = "Id,LoadState,ActiveState,SubState,UnitFileState,Result,InvocationID,ConditionResult," +
	"ActiveEnterTimestamp,ExecMainCode,ExecMainStatus,MainPID,NRestarts,Job,NeedDaemonReload,TimeoutStopUSec"

// A command that only asks answers in milliseconds; this long means that systemd itself is in trouble.
const askLimit = 15 * time.Second

// reloadLimit is for commands that make systemd read every unit file again.
const reloadLimit = 90 * time.Second

// Systemctl is the real one.
type Systemctl struct{}

func (Systemctl) Show(ctx context.Context, units ...string) (map[string]UnitStatus, error) {
	all := map[string]UnitStatus{}
	if len(units) == 0 {
		return all, nil
	}
	words := append([]string{"show", "--no-pager", "-p", properties, "--"}, units...)
	output, err := command(ctx, askLimit, "systemctl", words...)
	if err != nil {
		return nil, err
	}
	blocks := strings.Split(strings.TrimSpace(output), "\n\n")
	if len(blocks) != len(units) {
		return nil, fmt.Errorf("systemctl show: expected %d units, got %d", len(units), len(blocks))
	}
	for i, unit := range units { // in the order they were asked for
		all[unit] = parseStatus(blocks[i])
	}
	return all, nil
}

func parseStatus(block string) UnitStatus {
	value := map[string]string{}
	for _, line := range strings.Split(block, "\n") {
		if key, text, found := strings.Cut(line, "="); found {
			value[key] = text
		}
	}
	number := func(key string) int {
		n, _ := strconv.Atoi(value[key]) // absent for a unit that is not a service
		return n
	}
	return UnitStatus{
		LoadState: value["LoadState"], ActiveState: value["ActiveState"], SubState: value["SubState"],
		UnitFileState: value["UnitFileState"], Result: value["Result"], InvocationID: value["InvocationID"],
		ConditionResult: value["ConditionResult"], Since: parseStamp(value["ActiveEnterTimestamp"]),
		ExecMainCode: number("ExecMainCode"), ExecMainStatus: number("ExecMainStatus"), MainPID: number("MainPID"),
		NRestarts: number("NRestarts"), Job: value["Job"] != "" && value["Job"] != "0",
		NeedReload: value["NeedDaemonReload"] == "yes", TimeoutStop: parseSpan(value["TimeoutStopUSec"]),
	}
}

// parseStamp turns systemd.time(7)'s way of writing a moment (we ask in UTC) into the record's.
func parseStamp(text string) string {
	at, err := time.Parse("Mon 2006-01-02 15:04:05 MST", text)
	if err != nil {
		return "" // never active
	}
	return stamp(at)
}

// parseSpan reads systemd.time(7) spans as systemctl prints them: "1min 30s", "20s", "infinity".
func parseSpan(text string) time.Duration {
	if text == "infinity" {
		return endless
	}
	var total time.Duration
	for _, word := range strings.Fields(text) {
		unit := strings.TrimLeft(word, "0123456789")
		number, err := strconv.Atoi(strings.TrimSuffix(word, unit))
		if err != nil || spans[unit] == 0 || number > int(24*time.Hour/spans[unit]) {
			return endless // days, months: nobody waits for that
		}
		total += time.Duration(number) * spans[unit]
	}
	return total
}

// endless is how long a service that may take for ever to stop is waited for.
const endless = 10 * time.Minute

var spans = map[string]time.Duration{"us": time.Microsecond, "ms": time.Millisecond, "s": time.Second, "min": time.Minute,
	"h": time.Hour}

func (Systemctl) Control(ctx context.Context, limit time.Duration, words ...string) error {
	_, err := command(ctx, limit, "systemctl", append([]string{"--no-ask-password"}, words...)...)
	return err
}

func (Systemctl) Stopping(ctx context.Context) bool {
	output, _ := command(ctx, askLimit, "systemctl", "is-system-running") // its status is not 0 for "degraded" either
	return strings.TrimSpace(output) == "stopping"
}

func (Systemctl) Journal(ctx context.Context, unit string, from, to time.Time, lines int) []string {
	at := func(moment time.Time) string {
		return fmt.Sprintf("@%d.%06d", moment.Unix(), moment.Nanosecond()/1000)
	}
	// Evidence only: without it the outcome is the same, so an error becomes a line of it.
	_, _ = command(ctx, askLimit, "journalctl", "--sync")
	output, err := command(ctx, askLimit, "journalctl", "--no-pager", "--quiet", "--all", "-o", "short-iso",
		"-u", unit, "--since", at(from), "--until", at(to), "-n", strconv.Itoa(lines))
	if err != nil {
		return []string{err.Error()}
	}
	if output = strings.TrimRight(output, "\n"); output == "" {
		return []string{}
	}
	return strings.Split(strings.ToValidUTF8(output, "?"), "\n")
}

// command runs a program of the system with a limit of its own and returns what it printed, with an error too.
func command(ctx context.Context, limit time.Duration, program string, words ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var output, errs strings.Builder
	process := exec.CommandContext(ctx, program, words...)
	process.Stdout, process.Stderr = &output, &errs
	process.Env = []string{"PATH=" + searchPath, "LANG=C.UTF-8", "SYSTEMD_COLORS=0", "TZ=UTC"}
	process.WaitDelay = time.Second
	err := process.Run()
	if err == nil {
		return output.String(), nil
	}
	said := firstLine([]byte(errs.String()))
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		said = fmt.Sprintf("no answer within %v %s", limit, said)
	}
	return output.String(), fmt.Errorf("%s %s: %w: %s", program, strings.Join(words, " "), err, said)
}
