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

// decisionLockTimeout is how long `confirm` and `revert` wait for a working agent, which may be reverting.
const decisionLockTimeout = 120 * time.Second

var headPattern = regexp.MustCompile(`^([0-9a-f]{64})?$`)

// decision holds the arguments of `confirm` and `revert`.
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
	flags.StringVar(&d.decided.By, "by", "", "who decides; default: the run's -started-by")
	if name == "confirm" {
		flags.StringVar(&d.decided.Head, "head", "", "hash of the last line of the controller's journal")
	} else {
		flags.StringVar(&d.reason, "reason", "", "why the release is reverted")
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
	// The controller's connection may break; a decision that was started is completed all the same.
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	record, err := newActivation(paths, Plan{Service: d.service}).decide(ctx, d, (*Activation).confirmRun)
	return printOutcome(record, err, out)
}

func revertCommand(args []string, paths Paths, out io.Writer) (int, error) {
	d, err := parseDecision("revert", args)
	if err != nil {
		return exitRefused, err
	}
	// A signal does not stop a revert halfway: Activation.revert ignores it.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	record, err := newActivation(paths, Plan{Service: d.service}).decide(ctx, d, (*Activation).revertRun)
	if record != nil && record.State == stateConfirmed {
		err = fmt.Errorf("run %s is confirmed: %s is live; roll back instead", record.RunID, record.Release)
		record = nil
	}
	if record == nil {
		writeRefusal(paths, d.service, d.runID, err)
	}
	return printOutcome(record, err, out)
}

// decide applies a decision to a run, or returns the run's outcome if it has one. An error without a record means that
// nothing was changed.
func (a *Activation) decide(
	ctx context.Context, d decision, apply func(*Activation, context.Context, decision) (*Record, error),
) (*Record, error) {
	lock, err := takeLock(a.paths, d.service, decisionLockTimeout)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := checkFence(a.paths, d.service, d.decided.Fence); err != nil {
		return nil, err
	}
	record, err := loadRecord(a.paths, d.service)
	if err != nil {
		return nil, err
	}
	if record == nil || !sameRun(record.RunID, d.runID) {
		return a.outcomeFromHistory(record, d)
	}
	if record.final() {
		a.record = record
		return record, a.reconcile(ctx)
	}
	if record.Plan == nil || record.Undo == nil {
		return nil, fmt.Errorf("the record of run %s has no plan or no undo: it cannot be reverted", record.RunID)
	}
	a.adopt(record, !record.awaitsConfirmation())
	if a.record.Decided == nil || record.awaitsConfirmation() {
		if d.decided.By == "" {
			d.decided.By = record.StartedBy
		}
		a.record.Decided = &d.decided
	}
	return apply(a, ctx, d)
}

// outcomeFromHistory returns the outcome of a run that a later run has replaced.
func (a *Activation) outcomeFromHistory(record *Record, d decision) (*Record, error) {
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

// confirmRun is `confirm` on a run without an outcome.
func (a *Activation) confirmRun(ctx context.Context, _ decision) (*Record, error) {
	switch {
	case a.record.Stage == stageRestore || a.record.Stage == stageVerify || a.record.Stage == stageFinish:
		return a.record, a.resume(ctx, nil) // decided already, but the agent was killed
	case !a.record.awaitsConfirmation():
		return nil, fmt.Errorf("run %s is in stage %s: there is nothing to confirm yet", a.record.RunID, a.record.Stage)
	}
	if failure := a.healthFailure(ctx); failure != nil {
		return a.record, a.revert(ctx, failure)
	}
	return a.record, a.finish(ctx)
}

// confirmAttempts: a single failed check may only mean that the host is slow at the moment. A release is reverted if this
// many checks fail in a row, an interval apart. It is reverted at once if its process crashed.
const confirmAttempts = 3

// healthFailure checks the live release and returns why it cannot be confirmed.
func (a *Activation) healthFailure(ctx context.Context) *Failure {
	if live := currentRelease(a.plan.Home); live != a.plan.Release {
		return fail("error", "%s/current points to %q, expected %q", a.plan.Home, live, a.plan.Release)
	}
	if a.plan.Health == nil {
		return fail("error", "release %s is incomplete: files of it are missing now", a.plan.Release)
	}
	for try := 1; ; try++ {
		status, err := a.statusOf(a.plan.MainUnit)(ctx)
		if err == nil {
			if how := status.crash(a.plan.MainUnit); how != "" {
				return fail("crashed", "%s, before it was confirmed", how)
			}
		}
		_, err = a.probe(*a.plan.Health)(ctx)
		if err == nil {
			return nil
		}
		if try == confirmAttempts || a.clock.Sleep(ctx, a.plan.Health.Interval.Duration()) != nil {
			return fail("unhealthy", "unhealthy at its confirmation (%d checks): %v", try, err)
		}
	}
}

// revertRun is `revert` on a run without an outcome.
func (a *Activation) revertRun(ctx context.Context, d decision) (*Record, error) {
	return a.record, a.resume(ctx, fail("asked", "%s", firstLine([]byte(d.reason))))
}

// writeRefusal writes the reason of a refusal for `follow`: the controller may have no other way to read it.
func writeRefusal(paths Paths, service, runID string, why error) {
	event, err := encodeLine(Refused{Event: "refused", Why: firstLine([]byte(why.Error())), RunID: runID})
	err = errors.Join(err, os.MkdirAll(paths.Run, 0o755))
	if err == nil {
		err = writeFile(paths.refusal(service), event, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gofallback-agent:", err)
	}
}
