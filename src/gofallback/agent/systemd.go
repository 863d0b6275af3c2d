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

// Systemd is the part of the service manager and of its journal that the agent uses.
type Systemd interface {
	// Show reads the state of units; a unit that does not exist has LoadState not-found.
	Show(ctx context.Context, units ...string) (map[string]UnitStatus, error)
	// Control runs one systemctl command and waits for it.
	Control(ctx context.Context, timeout time.Duration, words ...string) error
	// Stopping is true while the host shuts down, when no unit can be started any more.
	Stopping(ctx context.Context) bool
	// Journal returns the last lines of a unit between two moments.
	Journal(ctx context.Context, unit string, from, to time.Time, lines int) []string
}

// UnitStatus holds properties of a unit from `systemctl show`.
type UnitStatus struct {
	LoadState, ActiveState, SubState, UnitFileState, Result, InvocationID, ConditionResult string
	Since                                                                                  string
	ExecMainCode, ExecMainStatus, MainPID, NRestarts                                       int
	Job, NeedReload                                                                        bool
	TimeoutStop                                                                            time.Duration
}

const properties = "Id,LoadState,ActiveState,SubState,UnitFileState,Result,InvocationID,ConditionResult," +
	"ActiveEnterTimestamp,ExecMainCode,ExecMainStatus,MainPID,NRestarts,Job,NeedDaemonReload,TimeoutStopUSec"

// queryTimeout is for commands that take milliseconds; only a systemd in trouble takes longer.
const queryTimeout = 15 * time.Second

// reloadTimeout is for commands that make systemd reread every unit file.
const reloadTimeout = 90 * time.Second

// Systemctl implements Systemd with systemctl and journalctl.
type Systemctl struct{}

func (Systemctl) Show(ctx context.Context, units ...string) (map[string]UnitStatus, error) {
	all := map[string]UnitStatus{}
	if len(units) == 0 {
		return all, nil
	}
	words := append([]string{"show", "--no-pager", "-p", properties, "--"}, units...)
	output, err := command(ctx, queryTimeout, "systemctl", words...)
	if err != nil {
		return nil, err
	}
	blocks := strings.Split(strings.TrimSpace(output), "\n\n")
	if len(blocks) != len(units) {
		return nil, fmt.Errorf("systemctl show: expected %d units, got %d", len(units), len(blocks))
	}
	for i, unit := range units { // blocks come in the order of the arguments
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

// parseStamp converts a timestamp of systemd.time(7), in UTC as `command` sets TZ, to the record's format.
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
		return maxStopWait
	}
	var total time.Duration
	for _, word := range strings.Fields(text) {
		unit := strings.TrimLeft(word, "0123456789")
		number, err := strconv.Atoi(strings.TrimSuffix(word, unit))
		if err != nil || spans[unit] == 0 || number > int(24*time.Hour/spans[unit]) {
			return maxStopWait // days or months
		}
		total += time.Duration(number) * spans[unit]
	}
	return total
}

// maxStopWait limits the wait for a service that may take forever to stop.
const maxStopWait = 10 * time.Minute

var spans = map[string]time.Duration{"us": time.Microsecond, "ms": time.Millisecond, "s": time.Second, "min": time.Minute,
	"h": time.Hour}

func (Systemctl) Control(ctx context.Context, timeout time.Duration, words ...string) error {
	_, err := command(ctx, timeout, "systemctl", append([]string{"--no-ask-password"}, words...)...)
	return err
}

func (Systemctl) Stopping(ctx context.Context) bool {
	output, _ := command(ctx, queryTimeout, "systemctl", "is-system-running") // exits non-zero for "degraded" too
	return strings.TrimSpace(output) == "stopping"
}

func (Systemctl) Journal(ctx context.Context, unit string, from, to time.Time, lines int) []string {
	at := func(moment time.Time) string {
		return fmt.Sprintf("@%d.%06d", moment.Unix(), moment.Nanosecond()/1000)
	}
	// The log lines do not change the outcome: an error is reported as one of them.
	_, _ = command(ctx, queryTimeout, "journalctl", "--sync")
	output, err := command(ctx, queryTimeout, "journalctl", "--no-pager", "--quiet", "--all", "-o", "short-iso",
		"-u", unit, "--since", at(from), "--until", at(to), "-n", strconv.Itoa(lines))
	if err != nil {
		return []string{err.Error()}
	}
	if output = strings.TrimRight(output, "\n"); output == "" {
		return []string{}
	}
	return strings.Split(strings.ToValidUTF8(output, "?"), "\n")
}

// command runs a program of the system with a timeout. It returns the output in case of an error too.
func command(ctx context.Context, timeout time.Duration, program string, words ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
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
	message := firstLine([]byte(errs.String()))
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		message = fmt.Sprintf("no answer within %v %s", timeout, message)
	}
	return output.String(), fmt.Errorf("%s %s: %w: %s", program, strings.Join(words, " "), err, message)
}
