package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"
)

// Activation is what one process of the agent does with a run: activate, confirm, revert or recover it.
type Activation struct {
	paths   Paths
	systemd Systemd
	clock   Clock
	plan    Plan
	record  *Record
	probe   func(Health) Probe
	dirty   bool // an agent of this run, or of an earlier one, was cut off and may have left the target half changed
	touched bool // this process has changed the target

	fence      int64   // number of the lease; 0: not checked
	window     Seconds // time to confirm the release; 0: no confirmation is required
	why        string
	keepFailed bool

	isDeadman    bool          // this process is the dead-man's switch
	restartGrace time.Duration // how long the switch gives systemd to restart an agent that was killed
	reverting    bool          // this process reverts the run
	problems     []error       // errors of the revert that did not stop it
}

func newActivation(paths Paths, plan Plan) *Activation {
	return &Activation{paths: paths, systemd: Systemctl{}, clock: realClock{}, plan: plan, probe: Health.probe, restartGrace: defaultRestartGrace}
}

// maxAttempts is how many agents may be killed in one run (by the OOM killer, for example) before it is reverted.
const maxAttempts = 3

// Run switches to the plan's release or reverts; the record says which. An error without a record: nothing was changed.
func (a *Activation) Run(ctx context.Context) (*Record, error) {
	lock, err := takeLock(a.paths, a.plan.Service, startLockTimeout)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	removeStale(a.paths.service(a.plan.Service))
	last, err := loadRecord(a.paths, a.plan.Service)
	if err != nil {
		return nil, err
	}
	if last != nil && last.RunID == a.plan.RunID {
		if last.Release != a.plan.Release {
			return nil, fmt.Errorf("run %s is of release %s; give another -run-id for %s", last.RunID, last.Release, a.plan.Release)
		}
		if last.final() || last.awaitsConfirmation() {
			a.record = last
			return last, a.reconcile(ctx)
		}
	}
	resumed := last != nil && !last.final() && last.RunID == a.plan.RunID
	fenced := checkFence(a.paths, a.plan.Service, a.fence)
	if fenced != nil && !resumed {
		return nil, fenced
	}
	if !resumed && !a.confirmedWithoutProvenance() {
		if err := checkProvenance(a.paths, a.plan); err != nil {
			return nil, err
		}
	}
	if err := a.createRecord(ctx, last, resumed); err != nil {
		return nil, err
	}
	return a.record, a.drive(ctx, resumed, fenced)
}

// confirmedWithoutProvenance is true for a release without provenance that was confirmed on this target before: a
// rollback must stay possible when the first key is put on the target. A folder of the same name with other programs is
// another release. Records of older agents do not name the programs; they count for any.
func (a *Activation) confirmedWithoutProvenance() bool {
	folder := releaseFolder(a.plan.Home, a.plan.Release)
	if _, err := os.Stat(filepath.Join(folder, "provenance.json")); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	history, _ := readHistory(a.paths.history(a.plan.Service)) // unreadable: provenance is required
	for i := len(history) - 1; i >= 0; i-- {
		if record := history[i]; record.Release == a.plan.Release && record.State == stateConfirmed {
			return record.Programs == nil || maps.Equal(record.Programs, programSums(folder))
		}
	}
	return false
}

// createRecord writes the first record: from here on the run can be reverted.
func (a *Activation) createRecord(ctx context.Context, last *Record, resumed bool) error {
	now := stamp(a.clock.Now())
	a.record = &Record{Schema: 1, Service: a.plan.Service, Home: a.plan.Home, RunID: a.plan.RunID,
		StartedBy: a.plan.StartedBy, State: stateIntended, Stage: stagePrepare, Release: a.plan.Release, Attempt: 1,
		Timings: map[string]float64{}, Started: now, Plan: a.plan.forRecord(),
		Programs: programSums(releaseFolder(a.plan.Home, a.plan.Release)),
		Why:      a.why, Fence: a.fence, KeepFailed: a.keepFailed}
	if a.window > 0 {
		a.record.Confirm = &Confirm{Window: a.window}
	}
	var undo *Undo
	if resumed {
		a.record = last
		a.record.Attempt++
	}
	if last != nil && !last.final() {
		undo, a.dirty = last.Undo, true
	}
	if last != nil && !resumed {
		if err := a.supersede(last); err != nil {
			return err
		}
	}
	a.record.PID, a.record.PIDStart, a.record.BootID = os.Getpid(), processStart(os.Getpid()), a.paths.bootID()
	undo, err := a.capture(ctx, undo)
	if err != nil {
		return err
	}
	a.record.Undo = undo
	a.record.Previous = optional(undo.Release)
	a.record.RunsNow = optional(currentRelease(a.plan.Home))
	stage := stagePrepare
	if resumed {
		stage = a.record.Stage
	}
	return a.enterStage(stage, "")
}

// drive switches, or resumes the run of an agent that was killed. fenced: another run has taken over since.
func (a *Activation) drive(ctx context.Context, resumed bool, fenced error) error {
	// Once a run is being finished or reverted, neither an error here nor a fence changes its direction.
	decided := resumed && (a.record.Stage == stageRestore || a.record.Stage == stageVerify || a.record.Stage == stageFinish)
	err := errors.Join(a.ensureLogged(a.record), a.armRecovery())
	if err == nil && a.record.Confirm != nil && !decided {
		err = a.armDeadman(ctx, a.record.Confirm.Window)
	}
	switch {
	case err != nil && !decided:
		return a.revert(ctx, fail("error", "%v", err))
	case fenced != nil && !decided:
		return a.revert(ctx, fail("fenced", "%v", fenced))
	}
	if resumed {
		switch stage := a.record.Stage; {
		case stage == stageFinish:
			return a.finish(ctx)
		case stage == stageRestore || stage == stageVerify:
			return a.revert(ctx, fail(deref(a.record.Cause), "%s", deref(a.record.Reason)))
		case a.record.Attempt > maxAttempts:
			return a.revert(ctx, fail("interrupted", "the agent was killed %d times in this run", maxAttempts))
		}
	}
	if failure := a.forward(ctx); failure != nil {
		if a.shouldKeep(ctx, failure) {
			return a.keepFailedRelease(ctx, failure)
		}
		return a.revert(ctx, failure)
	}
	if a.record.Confirm != nil {
		return a.awaitConfirmation(ctx)
	}
	return a.finish(ctx)
}

// awaitConfirmation is the last step of this process: the dead-man's switch reverts the release unless `confirm` is run.
func (a *Activation) awaitConfirmation(ctx context.Context) error {
	a.openWindow()
	a.record.State = stateProvisional
	err := a.enterStage(stageConfirm, "")
	if err == nil {
		err = a.ensureLogged(a.record)
	}
	if err != nil { // a state that cannot be written cannot be confirmed either
		return a.revert(ctx, fail("error", "%v", err))
	}
	return nil
}

// openWindow starts the window now.
func (a *Activation) openWindow() {
	c, now := a.record.Confirm, a.clock.Now()
	c.Since, c.Deadline = stamp(now), stamp(now.Add(c.Window.Duration()))
	c.SinceUptime, c.BootID = Seconds(a.clock.Uptime().Seconds()), a.paths.bootID()
}

// forward switches, restarts and waits for health.
func (a *Activation) forward(ctx context.Context) *Failure {
	if err := a.enterStage(stageSwitch, ""); err != nil {
		return asFailure(ctx, err)
	}
	want, err := a.newLayout()
	if err != nil {
		return asFailure(ctx, err)
	}
	previous, err := a.previousLayout()
	if err != nil {
		return asFailure(ctx, err)
	}
	a.record.Units = changes(want, previous)
	a.record.Checks = Checks{}
	if err := a.stageFallback(want, previous); err != nil {
		return asFailure(ctx, err)
	}
	if err := a.apply(ctx, want, previous); err != nil {
		return asFailure(ctx, err)
	}
	a.record.RunsNow = &a.plan.Release
	if err := a.enterStage(stageGate, ""); err != nil {
		return asFailure(ctx, err)
	}
	gate := a.gate(want.Main, *a.plan.Health)
	gate.OnFirst = func() { a.markTime("first_healthy") }
	failure := gate.Wait(ctx)
	a.record.Checks = gate.Checks
	if failure == nil {
		a.markTime("healthy")
		a.record.Healthy = pointer(true)
	}
	return failure
}

func (a *Activation) gate(unit string, health Health) *Gate {
	return &Gate{Unit: unit, Health: health, Probe: a.probe(health), Status: a.statusOf(unit), Clock: a.clock}
}

// finish confirms the release. Once the stage is written, the run is not reverted any more.
func (a *Activation) finish(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	if err := a.enterStage(stageFinish, ""); err != nil {
		if a.record.State == stateIntended { // otherwise the next boot would revert it
			return a.revert(ctx, fail("error", "%v", err))
		}
		return err
	}
	if a.record.Confirm != nil {
		a.markTime("confirmed")
	}
	want, err := a.newLayout()
	if err == nil {
		var previous Layout
		previous, err = a.previousLayout()
		err = errors.Join(err, a.startHealthTimer(ctx, want, previous))
	}
	err = errors.Join(err, clearBad(a.plan.Home, a.plan.Release),
		writeFile(a.paths.lastKnownGood(a.plan.Service), []byte(a.plan.Release+"\n"), 0o644), a.prune())
	if err != nil {
		// The release runs and is healthy: an error of the cleanup is reported and does not revert it.
		a.record.Reason = pointer("confirmed, but: " + firstLine([]byte(err.Error())))
	}
	return a.conclude(ctx, stateConfirmed)
}

// enterStage writes the next stage into the record.
func (a *Activation) enterStage(stage, detail string) error {
	now := a.clock.Now()
	a.record.Stage, a.record.Updated = stage, stamp(now)
	a.record.Stages = append(a.record.Stages,
		Stage{Stage: stage, At: stamp(now), Elapsed: since(a.record.startedAt(), now), Detail: detail})
	if a.reverting {
		return a.record.saveOrSpill(a.paths)
	}
	return a.record.save(a.paths)
}

func (a *Activation) markTime(name string) {
	a.record.Timings[name] = since(a.record.startedAt(), a.clock.Now())
}
