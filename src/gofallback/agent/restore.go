package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// revert restores the state before the run and verifies that it is healthy, whatever the reason of the failure.
func (a *Activation) revert(ctx context.Context, failure *Failure) error {
	ctx = context.WithoutCancel(ctx) // a signal is a reason to revert, not to stop halfway
	failedAt := a.clock.Now()
	down := a.systemd.Stopping(ctx)
	if down {
		failure = fail("interrupted", "the host went down in stage %s", a.record.Stage)
	}
	if _, resumed := a.record.Timings["failed"]; !resumed {
		a.markTime("failed")
	}
	a.record.Cause, a.record.Reason = &failure.Cause, &failure.Reason
	a.record.Healthy, a.reverting = nil, true
	if err := a.enterStage(stageRestore, failure.Reason); err != nil {
		// A full disk must not keep the earlier release from running: continue without the record.
		fmt.Fprintln(os.Stderr, "gofallback-agent:", err)
	}
	switch {
	case down:
		return a.deferToBoot() // the unit of recover.go resumes at the next boot
	case !a.touched && !a.dirty:
		return a.conclude(ctx, stateReverted) // the earlier release was not even restarted
	}
	want, err := a.previousLayout()
	if err != nil {
		return errors.Join(err, a.conclude(ctx, stateFailed))
	}
	failed, err := a.newLayout()
	if err != nil {
		failed = Layout{Files: map[string][]byte{}}
	}
	restoreFailure := a.restoreAndVerify(ctx, want, failed)
	if restoreFailure != nil && a.systemd.Stopping(ctx) {
		return a.deferToBoot()
	}
	a.record.RunsNow = optional(currentRelease(a.plan.Home))
	if len(a.record.Journal) == 0 && failure.releaseAtFault() {
		a.record.Journal = a.journalExcerpt(ctx, failedAt)
	}
	a.markReleaseBad(failure)
	if restoreFailure != nil {
		return a.concludeUnrestored(ctx, failure, restoreFailure)
	}
	_ = a.tolerate(a.startHealthTimer(ctx, want, failed))
	if len(a.problems) > 0 {
		a.record.Reason = pointer(failure.Reason + "; restored, but: " + firstLine([]byte(errors.Join(a.problems...).Error())))
	}
	return a.conclude(ctx, stateReverted)
}

// concludeUnrestored ends a revert after which no healthy release runs.
func (a *Activation) concludeUnrestored(ctx context.Context, failure, restoreFailure *Failure) error {
	if restoreFailure.Cause == causeNothingBefore && !failure.releaseAtFault() {
		// Nothing ran here before the run and nothing runs now: the run is reverted.
		a.record.Reason = pointer(failure.Reason + "; nothing ran here before, so it is stopped and disabled")
		return a.conclude(ctx, stateReverted)
	}
	a.record.Reason = pointer(failure.Reason + "; then " + restoreFailure.Reason)
	return a.conclude(ctx, stateFailed)
}

// keepFailedRelease ends a run whose gate failed without a revert (-keep-failed).
func (a *Activation) keepFailedRelease(ctx context.Context, failure *Failure) error {
	ctx = context.WithoutCancel(ctx)
	a.markTime("failed")
	a.record.Cause, a.record.Reason, a.record.Healthy = &failure.Cause, &failure.Reason, pointer(false)
	a.record.Journal = a.journalExcerpt(ctx, a.clock.Now())
	a.markReleaseBad(failure)
	return a.conclude(ctx, stateFailed)
}

// shouldKeep is true if -keep-failed holds for a failure: the release itself must have failed, after it was started.
func (a *Activation) shouldKeep(ctx context.Context, failure *Failure) bool {
	started := a.record.Stage == stageRestart || a.record.Stage == stageGate
	return a.record.KeepFailed && started && failure.releaseAtFault() && failure.Cause != "error" && ctx.Err() == nil
}

// releaseAtFault is false if the run failed for a reason outside the release: it was stopped, fenced, not confirmed, or
// reverted on request.
func (f *Failure) releaseAtFault() bool {
	switch f.Cause {
	case "interrupted", "unconfirmed", "asked", "fenced":
		return false
	}
	return true
}

// restoreAndVerify returns why the target is not healthy after the revert.
func (a *Activation) restoreAndVerify(ctx context.Context, want, failed Layout) *Failure {
	if err := a.apply(ctx, want, failed); err != nil {
		return fail("error", "the revert failed too: %v", err)
	}
	a.markTime("restored")
	if !want.Start {
		a.record.Healthy = pointer(false)
		_ = a.systemd.Control(ctx, queryTimeout, "reset-failed", "--", want.Main) // otherwise `systemctl --failed` lists it
		return fail(causeNothingBefore, "there is no earlier release to go back to: %s is stopped and disabled", want.Main)
	}
	if err := a.enterStage(stageVerify, want.Release); err != nil {
		fmt.Fprintln(os.Stderr, "gofallback-agent:", err)
	}
	gate := a.gate(want.Main, a.previousHealth(want.Release))
	if gate.Health.Check.Type == "" {
		gate.Probe = func(context.Context) (string, error) { return "it runs", nil }
	}
	gate.OnFirst = func() { a.markTime("answering") }
	if failure := gate.Wait(ctx); failure != nil {
		a.record.Healthy = pointer(false)
		return fail("error", "%s is not healthy either: %s", previousName(want.Release), failure.Reason)
	}
	a.markTime("verified")
	a.record.Healthy = pointer(true)
	return nil
}

// causeNothingBefore means that the target had neither a release nor a running unit of the service before the run.
const causeNothingBefore = "nothing-before"

func previousName(release string) string {
	if release == "" {
		return "what ran before"
	}
	return "release " + release
}

// previousHealth is the earlier release's own health check. A unit that ran before the first release only has to stay up.
func (a *Activation) previousHealth(release string) Health {
	if release != "" {
		if health, err := loadHealth(configFile(a.plan.Home, release, "health.json")); err == nil {
			return health
		}
	}
	var health Health
	if a.plan.Health != nil {
		health = *a.plan.Health
	}
	_ = health.validate() // fills in unset times; a release that lost its files has no check
	if release == "" {
		health.Check = Check{}
	}
	return health
}

// markReleaseBad marks a release that is at fault, unless it is the one that ran before.
func (a *Activation) markReleaseBad(failure *Failure) {
	if !failure.releaseAtFault() || a.record.Undo.Release == a.plan.Release {
		return
	}
	bad := Bad{Reason: failure.Reason, Cause: failure.Cause, RunID: a.plan.RunID, At: stamp(a.clock.Now())}
	if err := markBad(a.plan.Home, a.plan.Release, bad); err != nil {
		fmt.Fprintln(os.Stderr, "gofallback-agent:", err)
	}
}

// deferToBoot restores link and unit files on the disk. The next boot starts and verifies the earlier release.
func (a *Activation) deferToBoot() error {
	want, err := a.previousLayout()
	if err != nil {
		return err
	}
	for name := range want.Files {
		_, placeErr := a.placeUnit(name, want.Files)
		err = errors.Join(err, placeErr)
	}
	return errors.Join(err, setCurrent(a.plan.Home, want.Release), syncFolder(filepath.Clean(a.paths.Units)))
}
