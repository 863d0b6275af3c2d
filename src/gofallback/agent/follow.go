package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

// Refused is the last line of `follow` when a run never began, or was not done.
type Refused struct {
	Event string `json:"event"` // "refused"
	Why   string `json:"why"`
	RunID string `json:"run_id"`
}

// Event is one line of `follow` before the last.
type Event struct {
	Event   string  `json:"event"` // "stage"
	Stage   string  `json:"stage"`
	At      string  `json:"at"`
	Elapsed float64 `json:"elapsed"`
	Detail  string  `json:"detail,omitempty"`
	RunID   string  `json:"run_id"`
}

// limbo is how often systemd is asked while the record has no living writer; absentLimit how long a run may take to appear.
const (
	limbo       = 200 * time.Millisecond
	absentLimit = 10 * time.Second
)

func followCommand(args []string, paths Paths, out io.Writer) (int, error) {
	flags := flag.NewFlagSet("follow", flag.ContinueOnError)
	service := flags.String("service", "", "name of the service")
	runID := flags.String("run-id", "", "id of the run")
	timeout := flags.Float64("timeout", 600, "seconds")
	final := flags.Bool("final", false, "a release that waits to be confirmed is not the end")
	if err := flags.Parse(args); err != nil {
		return exitRefused, err
	}
	if !namePattern.MatchString(*service) || !runPattern.MatchString(*runID) {
		return exitRefused, fmt.Errorf("expected -service NAME -run-id ID, got %q and %q", *service, *runID)
	}
	if err := os.MkdirAll(paths.service(*service), 0o755); err != nil {
		return exitRefused, err
	}
	changed, stop, err := watchFolders(paths.service(*service))
	if err != nil {
		return exitRefused, err
	}
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), Seconds(*timeout).Duration())
	defer cancel()
	follower := &follower{paths: paths, service: *service, runID: *runID, final: *final, out: out, systemd: Systemctl{}, began: time.Now()}
	return follower.run(ctx, changed)
}

type follower struct {
	paths   Paths
	service string
	runID   string
	final   bool
	out     io.Writer
	systemd Systemd
	began   time.Time
	printed int    // stages
	pid     int    // whose end is watched
	start   uint64 // of that process
	ended   <-chan struct{}
}

func (f *follower) run(ctx context.Context, changed <-chan struct{}) (int, error) {
	for {
		gone := f.unitGone(ctx) // asked before the record is read: what is written last is not missed
		record, err := f.find()
		if err != nil {
			return exitRefused, err
		}
		f.print(record)
		if f.settled(record) {
			return f.end(record)
		}
		if why := f.refused(record); why != nil {
			_, err := f.out.Write(why)
			return exitRefused, err
		}
		var again <-chan time.Time
		if record == nil || !record.alive(f.paths) {
			if gone && (record != nil || time.Since(f.began) > absentLimit) {
				return f.interrupted(record)
			}
			again = time.After(limbo)
		} else {
			f.watchProcess(record)
		}
		select {
		case <-ctx.Done():
			return f.late(record)
		case <-changed:
		case <-f.ended:
			f.ended = nil
		case <-again:
		}
	}
}

// settled is true when nothing more is to be waited for.
func (f *follower) settled(record *Record) bool {
	return record != nil && (record.final() || (record.waits() && !f.final))
}

// end lets the writer put everything in line with the record first.
func (f *follower) end(record *Record) (int, error) {
	if record.alive(f.paths) {
		select {
		case <-processEnd(record.PID):
		case <-time.After(tidyLimit):
		}
	}
	return record.exitCode(), f.printRecord(record)
}

// tidyLimit is far longer than an agent needs to end after it has written the outcome.
const tidyLimit = 3 * time.Second

// refused is what an agent that did not take the run left behind.
func (f *follower) refused(record *Record) []byte {
	var found Refused
	if (record != nil && record.alive(f.paths)) || readJSON(f.paths.refusal(f.service), &found) != nil || found.RunID != f.runID {
		return nil
	}
	line, _ := encodeLine(found)
	return line
}

// find returns the run's record, or its line in the history when a later run has taken its place.
func (f *follower) find() (*Record, error) {
	record, err := loadRecord(f.paths, f.service)
	if err != nil || (record != nil && (record.RunID == f.runID || (f.final && sameRun(record.RunID, f.runID)))) {
		return record, err
	}
	history, err := readHistory(f.paths.history(f.service))
	for i := range history {
		if history[i].RunID == f.runID {
			return &history[i], nil
		}
	}
	return nil, err
}

func (f *follower) watchProcess(record *Record) {
	if f.ended == nil || f.pid != record.PID || f.start != record.PIDStart {
		f.pid, f.start = record.PID, record.PIDStart
		f.ended = processEnd(record.PID)
	}
}

// unitGone is only asked while nobody lives who could write the record.
func (f *follower) unitGone(ctx context.Context) bool {
	record, err := f.find()
	if err != nil || f.settled(record) || (record != nil && record.alive(f.paths)) {
		return false
	}
	units := []string{"gofallback-activate-" + f.service + ".service", "gofallback-revert-" + f.service + ".service"}
	if record != nil { // else the switch is that of an older run
		units = append(units, deadmanName(f.service, "service"), recoveryName(f.service))
	}
	if f.final {
		units = append(units, deadmanName(f.service, "timer")) // it will end the run
	}
	status, err := f.systemd.Show(ctx, units...)
	if err != nil {
		return false
	}
	for _, unit := range status {
		if unit.Job || (unit.busy() && unit.ActiveState != "failed") {
			return false
		}
	}
	return true
}

func (f *follower) print(record *Record) {
	if record == nil {
		return
	}
	for ; f.printed < len(record.Stages); f.printed++ {
		stage := record.Stages[f.printed]
		line, _ := json.Marshal(Event{Event: "stage", Stage: stage.Stage, At: stage.At, Elapsed: stage.Elapsed,
			Detail: stage.Detail, RunID: record.RunID})
		fmt.Fprintf(f.out, "%s\n", line)
	}
}

// printRecord leaves out what only the agent itself needs.
func (f *follower) printRecord(record *Record) error {
	shown := *record
	shown.Undo, shown.Plan = nil, nil
	line, err := json.Marshal(shown)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f.out, "%s\n", line)
	return err
}

func (f *follower) interrupted(record *Record) (int, error) {
	if record == nil {
		return exitInterrupted, fmt.Errorf("run %s left no record: journalctl -u gofallback-activate-%s", f.runID, f.service)
	}
	return exitInterrupted, f.printRecord(record)
}

func (f *follower) late(record *Record) (int, error) {
	if record != nil {
		return exitTimeout, f.printRecord(record)
	}
	return exitTimeout, fmt.Errorf("run %s has not begun", f.runID)
}

func encodeLine(value any) ([]byte, error) {
	line, err := json.Marshal(value)
	return append(line, '\n'), err
}
