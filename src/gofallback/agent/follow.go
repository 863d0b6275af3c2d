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

// Refused is the last line of `follow` for a run that the agent refused.
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

// pollInterval is how often systemd is queried while no process writes the record; startTimeout is how long a run may take
// to write its first record.
const (
	pollInterval = 200 * time.Millisecond
	startTimeout = 10 * time.Second
)

func followCommand(args []string, paths Paths, out io.Writer) (int, error) {
	flags := flag.NewFlagSet("follow", flag.ContinueOnError)
	service := flags.String("service", "", "name of the service")
	runID := flags.String("run-id", "", "id of the run")
	timeout := flags.Float64("timeout", 600, "seconds")
	final := flags.Bool("final", false, "follow a provisional release until it is confirmed or reverted")
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
	follower := &follower{paths: paths, service: *service, runID: *runID, final: *final, out: out, systemd: Systemctl{}, started: time.Now()}
	return follower.run(ctx, changed)
}

type follower struct {
	paths   Paths
	service string
	runID   string
	final   bool
	out     io.Writer
	systemd Systemd
	started time.Time
	printed int             // stages printed so far
	pid     int             // process whose end is watched
	start   uint64          // start time of that process
	ended   <-chan struct{} // closed when that process has ended
}

func (f *follower) run(ctx context.Context, changed <-chan struct{}) (int, error) {
	for {
		inactive := f.unitsInactive(ctx) // before the record is read: the last write of a unit is not missed
		record, err := f.findRecord()
		if err != nil {
			return exitRefused, err
		}
		f.print(record)
		if f.done(record) {
			return f.finish(record)
		}
		if why := f.refusal(record); why != nil {
			_, err := f.out.Write(why)
			return exitRefused, err
		}
		var poll <-chan time.Time
		if record == nil || !record.writerAlive(f.paths) {
			if inactive && (record != nil || time.Since(f.started) > startTimeout) {
				return f.interrupted(record)
			}
			poll = time.After(pollInterval)
		} else {
			f.watchProcess(record)
		}
		select {
		case <-ctx.Done():
			return f.timedOut(record)
		case <-changed:
		case <-f.ended:
			f.ended = nil
		case <-poll:
		}
	}
}

// done is true when there is nothing more to wait for.
func (f *follower) done(record *Record) bool {
	return record != nil && (record.final() || (record.awaitsConfirmation() && !f.final))
}

// finish first waits for the writer, which brings journal and units in line with the record.
func (f *follower) finish(record *Record) (int, error) {
	if record.writerAlive(f.paths) {
		select {
		case <-processEnd(record.PID):
		case <-time.After(writerExitTimeout):
		}
	}
	return record.exitCode(), f.printRecord(record)
}

// writerExitTimeout is far longer than an agent needs to end after it has written the outcome.
const writerExitTimeout = 3 * time.Second

// refusal returns the line that an agent left when it refused this run.
func (f *follower) refusal(record *Record) []byte {
	var found Refused
	if (record != nil && record.writerAlive(f.paths)) || readJSON(f.paths.refusal(f.service), &found) != nil || found.RunID != f.runID {
		return nil
	}
	line, _ := encodeLine(found)
	return line
}

// findRecord returns the run's record, or its line in the history if a later run has replaced it.
func (f *follower) findRecord() (*Record, error) {
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

// unitsInactive is true if no unit is left that would write this run's record. It is false without a query while the
// writer runs or the run is over.
func (f *follower) unitsInactive(ctx context.Context) bool {
	record, err := f.findRecord()
	if err != nil || f.done(record) || (record != nil && record.writerAlive(f.paths)) {
		return false
	}
	units := []string{"gofallback-activate-" + f.service + ".service", "gofallback-revert-" + f.service + ".service"}
	if record != nil { // without a record these units belong to an older run
		units = append(units, deadmanName(f.service, "service"), recoveryName(f.service))
	}
	if f.final {
		units = append(units, deadmanName(f.service, "timer")) // while it is armed it will end the run
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

// printRecord prints the record without the parts that only the agent needs.
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

func (f *follower) timedOut(record *Record) (int, error) {
	if record != nil {
		return exitTimeout, f.printRecord(record)
	}
	return exitTimeout, fmt.Errorf("run %s has not begun", f.runID)
}
