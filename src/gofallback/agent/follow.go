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
	if err := flags.Parse(args); err != nil {
		return exitRefused, err
	}
	if !namePattern.MatchString(*service) || !runPattern.MatchString(*runID) {
		return exitRefused, fmt.Errorf("expected -service NAME -run-id ID, got %q and %q", *service, *runID)
	}
	if err := os.MkdirAll(paths.service(*service), 0o755); err != nil {
		return exitRefused, err
	}
	changed, stop, err := watchFolder(paths.service(*service))
	if err != nil {
		return exitRefused, err
	}
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), Seconds(*timeout).Duration())
	defer cancel()
	follower := &follower{paths: paths, service: *service, runID: *runID, out: out, systemd: Systemctl{}, began: time.Now()}
	return follower.run(ctx, changed)
}

type follower struct {
	paths   Paths
	service string
	runID   string
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
		if record != nil && record.final() {
			return record.exitCode(), f.printRecord(record)
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

// find returns the run's record, or its line in the history when a later run has taken its place.
func (f *follower) find() (*Record, error) {
	record, err := loadRecord(f.paths.record(f.service))
	if err != nil || (record != nil && record.RunID == f.runID) {
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
	if record, err := f.find(); err != nil || (record != nil && (record.final() || record.alive(f.paths))) {
		return false
	}
	units := []string{"gofallback-activate-" + f.service + ".service", recoveryName(f.service)}
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
