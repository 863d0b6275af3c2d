package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

// decisionPatience is how long `confirm` and `revert` wait for an agent that is at work, which may be going back.
const decisionPatience = 120 * time.Second

var headPattern = regexp.MustCompile(`^([0-9a-f]{64})?$`)

// decision is what both commands are given.
type decision struct {
	service, runID, reason string
	decided                Decided
}

func parseDecision(name string, args []string) (decision, error) {
	var d decision
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.StringVar(&d.service, "service", "", "name of the service")
	flags.StringVar(&d.runID, "run-id", "", "id of the run")
	flags.Int64Var(&d.decided.Fence, "fence", 0, "number of the run's lease; 0: not checked")
	flags.StringVar(&d.decided.By, "by", "", "who decides; default: who started the run")
	if name == "confirm" {
		flags.StringVar(&d.decided.Head, "head", "", "hash of the last line of the controller's journal")
	} else {
		flags.StringVar(&d.reason, "reason", "", "why it is taken back")
	}
	if err := flags.Parse(args); err != nil {
		return d, err
	}
	if !namePattern.MatchString(d.service) || !runPattern.MatchString(d.runID) {
		return d, fmt.Errorf("expected -service NAME -run-id ID, got %q and %q", d.service, d.runID)
	}
	if !headPattern.MatchString(d.decided.Head) {
		return d, fmt.Errorf("-head: expected 64 hexadecimal digits, got %q", d.decided.Head)
	}
	if name == "revert" && d.reason == "" {
		return d, errors.New("-reason: missing")
	}
	return d, nil
}

func confirmCommand(args []string, paths Paths, out io.Writer) (int, error) {
	d, err := parseDecision("confirm", args)
	if err != nil {
		return exitRefused, err
	}
	// The connection it runs on may break; what was begun is ended all the same.
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	record, err := newActivation(paths, Plan{Service: d.service}).decide(ctx, d, (*Activation).confirmed)
	return conclude(record, err, out)
}

func revertCommand(args []string, paths Paths, out io.Writer) (int, error) {
	d, err := parseDecision("revert", args)
	if err != nil {
		return exitRefused, err
	}
	// Being stopped is no reason to leave the way back half done.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	record, err := newActivation(paths, Plan{Service: d.service}).decide(ctx, d, (*Activation).takenBack)
	if record != nil && record.State == stateConfirmed {
		err = fmt.Errorf("run %s is confirmed: %s is live; roll back instead", record.RunID, record.Release)
		record = nil
	}
	if record == nil {
		noteRefusal(paths, d.service, d.runID, err)
	}
	return conclude(record, err, out)
}

// decide ends a run's wait, or tells how it ended. An error without a record means that nothing was changed.
func (a *Activation) decide(
	ctx context.Context, d decision, how func(*Activation, context.Context, decision) (*Record, error),
) (*Record, error) {
	lock, err := takeLock(a.paths, d.service, decisionPatience)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := fenced(a.paths, d.service, d.decided.Fence); err != nil {
		return nil, err
	}
	record, err := loadRecord(a.paths, d.service)
	if err != nil {
		return nil, err
	}
	if record == nil || !sameRun(record.RunID, d.runID) {
		return a.overtaken(record, d)
	}
	if record.final() {
		a.record = record
		return record, a.settle(ctx)
	}
	if record.Plan == nil || record.Undo == nil {
		return nil, fmt.Errorf("run %s left no way back in its record", record.RunID)
	}
	a.adopt(record, !record.waits())
	if a.record.Decided == nil || record.waits() {
		if d.decided.By == "" {
			d.decided.By = record.StartedBy
		}
		a.record.Decided = &d.decided
	}
	return how(a, ctx, d)
}

// overtaken tells how a run ended that another one has followed since.
func (a *Activation) overtaken(record *Record, d decision) (*Record, error) {
	history, err := readHistory(a.paths.history(d.service))
	if err != nil {
		return nil, err
	}
	for i := len(history) - 1; i >= 0; i-- {
		if sameRun(history[i].RunID, d.runID) {
			return &history[i], nil
		}
	}
	if record == nil {
		return nil, fmt.Errorf("there is no run on %s", d.service)
	}
	return nil, fmt.Errorf("run %s is not on this target: %s is %s by run %s", d.runID, record.Release, record.State, record.RunID)
}

// confirmed is `confirm` on a run that is not decided yet.
func (a *Activation) confirmed(ctx context.Context, _ decision) (*Record, error) {
	switch {
	case a.record.Stage == stageRestore || a.record.Stage == stageVerify || a.record.Stage == stageFinish:
		return a.record, a.goOn(ctx, nil) // it was decided already, and its agent killed
	case !a.record.waits():
		return nil, fmt.Errorf("run %s is in stage %s: there is nothing to confirm yet", a.record.RunID, a.record.Stage)
	}
	if failure := a.well(ctx); failure != nil {
		return a.record, a.back(ctx, failure)
	}
	return a.record, a.finish(ctx)
}

// confirmTries: as before the first good answer at the gate, a failed check may only mean that the host is slow just now. A
// release that has been well goes back when it fails this often in a row, an interval apart; at once when it crashed.
const confirmTries = 3

// well looks at the live release.
func (a *Activation) well(ctx context.Context) *Failure {
	if live := currentRelease(a.plan.Home); live != a.plan.Release {
		return fail("error", "%s/current points to %q, expected %q", a.plan.Home, live, a.plan.Release)
	}
	if a.plan.Health == nil {
		return fail("error", "release %s is not whole any more", a.plan.Release)
	}
	for try := 1; ; try++ {
		status, err := a.look(a.plan.MainUnit)(ctx)
		if err == nil {
			if how := status.crash(a.plan.MainUnit); how != "" {
				return fail("crashed", "%s, before it was confirmed", how)
			}
		}
		_, err = a.probe(*a.plan.Health)(ctx)
		if err == nil {
			return nil
		}
		if try == confirmTries || a.clock.Sleep(ctx, a.plan.Health.Interval.Duration()) != nil {
			return fail("unhealthy", "when it was to be confirmed (%d checks): %v", try, err)
		}
	}
}

// takenBack is `revert` on a run that is not decided yet.
func (a *Activation) takenBack(ctx context.Context, d decision) (*Record, error) {
	return a.record, a.goOn(ctx, fail("asked", "%s", firstLine([]byte(d.reason))))
}

// noteRefusal leaves a word for `follow`: who started this run may have no other way to hear it.
func noteRefusal(paths Paths, service, runID string, why error) {
	event, err := encodeLine(Refused{Event: "refused", Why: firstLine([]byte(why.Error())), RunID: runID})
	err = errors.Join(err, os.MkdirAll(paths.Run, 0o755))
	if err == nil {
		err = writeFile(paths.refusal(service), event, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gofallback-agent:", err)
	}
}
