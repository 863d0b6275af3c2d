package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// back restores what was before the run and proves that it answers, whatever the reason for the failure was.
func (a *Activation) back(ctx context.Context, failure *Failure) error {
	ctx = context.WithoutCancel(ctx) // being asked to stop is a reason to go back, not to leave it half done
	failedAt := a.clock.Now()
	down := a.systemd.Stopping(ctx)
	if down {
		failure = fail("interrupted", "the host went down in stage %s", a.record.Stage)
	}
	if _, again := a.record.Timings["failed"]; !again {
		a.mark("failed")
	}
	a.record.Cause, a.record.Reason = &failure.Cause, &failure.Reason
	a.record.Healthy, a.returning = nil, true
	if err := a.enter(stageRestore, failure.Reason); err != nil {
		// A full disk must not keep the old release from running: go on without the record.
		fmt.Fprintln(os.Stderr, "gofallback-agent:", err)
	}
	switch {
	case down:
		return a.leaveToBoot() // the unit of recover.go goes on at the next boot
	case !a.touched && !a.again:
		return a.close(ctx, stateReverted) // the earlier release was not even restarted
	}
	want, err := a.earlier()
	if err != nil {
		return errors.Join(err, a.close(ctx, stateFailed))
	}
	other, err := a.wanted()
	if err != nil {
		other = Want{Files: map[string][]byte{}}
	}
	worse := a.restoreAndVerify(ctx, want, other)
	if worse != nil && a.systemd.Stopping(ctx) {
		return a.leaveToBoot()
	}
	a.record.RunsNow = optional(currentRelease(a.plan.Home))
	if len(a.record.Journal) == 0 && failure.ofTheRelease() {
		a.record.Journal = a.evidence(ctx, failedAt)
	}
	a.blame(failure)
	if worse != nil && worse.Cause == causeNothingBefore && !failure.ofTheRelease() {
		// Nothing ran here, and nothing does again: that is the way back.
		a.record.Reason = pointer(failure.Reason + "; nothing ran here before, so it is stopped and disabled")
		return a.close(ctx, stateReverted)
	}
	if worse != nil {
		a.record.Reason = pointer(failure.Reason + "; then " + worse.Reason)
		return a.close(ctx, stateFailed)
	}
	_ = a.tolerate(a.settleTimer(ctx, want, other))
	if len(a.problems) > 0 {
		a.record.Reason = pointer(failure.Reason + "; restored, but: " + firstLine([]byte(errors.Join(a.problems...).Error())))
	}
	return a.close(ctx, stateReverted)
}

// leave is the end of a failed gate when the release is to be kept as it is.
func (a *Activation) leave(ctx context.Context, failure *Failure) error {
	ctx = context.WithoutCancel(ctx)
	a.mark("failed")
	a.record.Cause, a.record.Reason, a.record.Healthy = &failure.Cause, &failure.Reason, pointer(false)
	a.record.Journal = a.evidence(ctx, a.clock.Now())
	a.blame(failure)
	return a.close(ctx, stateFailed)
}

// keeps says whether a failure leaves the release where it is: its own failures only, and only once it was started.
func (a *Activation) keeps(ctx context.Context, failure *Failure) bool {
	started := a.record.Stage == stageRestart || a.record.Stage == stageGate
	return a.record.KeepFailed && started && failure.ofTheRelease() && failure.Cause != "error" && ctx.Err() == nil
}

// ofTheRelease: the release is to blame, and not who asked for it or what cut it off.
func (f *Failure) ofTheRelease() bool {
	switch f.Cause {
	case "interrupted", "unconfirmed", "asked", "fenced":
		return false
	}
	return true
}

// restoreAndVerify returns why the target is not well after all.
func (a *Activation) restoreAndVerify(ctx context.Context, want, other Want) *Failure {
	if err := a.apply(ctx, want, other); err != nil {
		return fail("error", "going back failed too: %v", err)
	}
	a.mark("restored")
	if !want.Start {
		a.record.Healthy = pointer(false)
		_ = a.systemd.Control(ctx, askLimit, "reset-failed", "--", want.Main) // else its failure stays listed
		return fail(causeNothingBefore, "there is no earlier release to go back to: %s is stopped and disabled", want.Main)
	}
	if err := a.enter(stageVerify, want.Release); err != nil {
		fmt.Fprintln(os.Stderr, "gofallback-agent:", err)
	}
	gate := a.gate(want.Main, a.earlierHealth(want.Release))
	if gate.Health.Check.Type == "" {
		gate.Probe = func(context.Context) (string, error) { return "it runs", nil }
	}
	gate.OnFirst = func() { a.mark("answering") }
	if failure := gate.Wait(ctx); failure != nil {
		a.record.Healthy = pointer(false)
		return fail("error", "%s is not healthy either: %s", orWhatRanBefore(want.Release), failure.Reason)
	}
	a.mark("verified")
	a.record.Healthy = pointer(true)
	return nil
}

// causeNothingBefore: the target had no release and no unit of the service before the run.
const causeNothingBefore = "nothing-before"

func orWhatRanBefore(release string) string {
	if release == "" {
		return "what ran before"
	}
	return "release " + release
}

// earlierHealth is the old release's own check. What ran before and was no release of ours is asked only to stay up.
func (a *Activation) earlierHealth(release string) Health {
	if release != "" {
		if health, err := loadHealth(configFile(a.plan.Home, release, "health.json")); err == nil {
			return health
		}
	}
	var health Health
	if a.plan.Health != nil {
		health = *a.plan.Health
	}
	_ = health.validate() // for its unset times: a release that lost its files has no check
	if release == "" {
		health.Check = Check{}
	}
	return health
}

// blame marks the failed release, unless it was only interrupted, or is the one that ran before.
func (a *Activation) blame(failure *Failure) {
	if !failure.ofTheRelease() || a.record.Undo.Release == a.plan.Release {
		return
	}
	bad := Bad{Reason: failure.Reason, Cause: failure.Cause, RunID: a.plan.RunID, At: stamp(a.clock.Now())}
	if err := markBad(a.plan.Home, a.plan.Release, bad); err != nil {
		fmt.Fprintln(os.Stderr, "gofallback-agent:", err)
	}
}

// leaveToBoot restores what lies on the disk; starting and proving it is for the next boot.
func (a *Activation) leaveToBoot() error {
	want, err := a.earlier()
	if err != nil {
		return err
	}
	for name := range want.Files {
		_, placeErr := a.placeUnit(name, want.Files)
		err = errors.Join(err, placeErr)
	}
	return errors.Join(err, setCurrent(a.plan.Home, want.Release), syncFolder(filepath.Clean(a.paths.Units)))
}
