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

// Activation is one run of `activate` or `recover`.
type Activation struct {
	paths   Paths
	systemd Systemd
	clock   Clock
	plan    Plan
	record  *Record
	probe   func(Health) Probe
	again   bool // an earlier run, or this one, was cut off and may have left anything half done
	touched bool // something on the target was changed by this process

	fence      int64   // number of the lease; 0: not checked
	window     Seconds // to be confirmed in; 0: needs no confirmation
	why        string
	keepFailed bool

	watching  bool          // this process is the dead-man's switch
	patience  time.Duration // of the switch, with an agent that was killed
	returning bool          // on the way back
	problems  []error       // what did not work there, and did not matter
}

func newActivation(paths Paths, plan Plan) *Activation {
	return &Activation{paths: paths, systemd: Systemctl{}, clock: realClock{}, plan: plan, probe: Health.probe, patience: restartPatience}
}

// maxAttempts: an agent killed this often in one run (out of memory, say) goes back instead of forward.
const maxAttempts = 3

// Run switches to the plan's release or goes back; the record says which. An error without a record means that nothing was touched.
func (a *Activation) Run(ctx context.Context) (*Record, error) {
	lock, err := takeLock(a.paths, a.plan.Service, startPatience)
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
		if last.final() || last.waits() {
			a.record = last
			return last, a.settle(ctx)
		}
	}
	resumed := last != nil && !last.final() && last.RunID == a.plan.RunID
	late := fenced(a.paths, a.plan.Service, a.fence)
	if late != nil && !resumed {
		return nil, late
	}
	if !resumed && !a.ranWellUnsigned() {
		if err := proven(a.paths, a.plan); err != nil {
			return nil, err
		}
	}
	if err := a.begin(ctx, last, resumed); err != nil {
		return nil, err
	}
	return a.record, a.drive(ctx, resumed, late)
}

// ranWellUnsigned is true of a release without provenance that was confirmed here before: the way back must stay open
// on the day the first key is put on a target. A folder of that name with other programs is another release; records of
// older agents do not say which programs there were.
func (a *Activation) ranWellUnsigned() bool {
	folder := releaseFolder(a.plan.Home, a.plan.Release)
	if _, err := os.Stat(filepath.Join(folder, "provenance.json")); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	history, _ := readHistory(a.paths.history(a.plan.Service)) // unreadable: it has to be proven
	for i := len(history) - 1; i >= 0; i-- {
		if record := history[i]; record.Release == a.plan.Release && record.State == stateConfirmed {
			return record.Programs == nil || maps.Equal(record.Programs, programSums(folder))
		}
	}
	return false
}

// begin writes the first record: from here on the run can be taken back.
func (a *Activation) begin(ctx context.Context, last *Record, resumed bool) error {
	now := stamp(a.clock.Now())
	a.record = &Record{Schema: 1, Service: a.plan.Service, Home: a.plan.Home, RunID: a.plan.RunID,
		StartedBy: a.plan.StartedBy, State: stateIntended, Stage: stagePrepare, Release: a.plan.Release, Attempt: 1,
		Timings: map[string]float64{}, Started: now, Plan: a.plan.toKeep(),
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
		undo, a.again = last.Undo, true
	}
	if last != nil && !resumed {
		if err := a.takeOver(last); err != nil {
			return err
		}
	}
	a.record.PID, a.record.PIDStart, a.record.BootID = os.Getpid(), startOf(os.Getpid()), a.paths.bootID()
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
	return a.enter(stage, "")
}

// drive goes forward, or on from where a killed agent was. late: another run has taken over since.
func (a *Activation) drive(ctx context.Context, resumed bool, late error) error {
	back := resumed && (a.record.Stage == stageRestore || a.record.Stage == stageVerify || a.record.Stage == stageFinish)
	err := errors.Join(a.written(a.record), a.armRecovery())
	if err == nil && a.record.Confirm != nil && !back {
		err = a.armDeadman(ctx, a.record.Confirm.Window)
	}
	switch {
	case err != nil && !back:
		return a.back(ctx, fail("error", "%v", err))
	case late != nil && !back:
		return a.back(ctx, fail("fenced", "%v", late))
	}
	if resumed {
		switch stage := a.record.Stage; {
		case stage == stageFinish:
			return a.finish(ctx)
		case stage == stageRestore || stage == stageVerify:
			return a.back(ctx, fail(deref(a.record.Cause), "%s", deref(a.record.Reason)))
		case a.record.Attempt > maxAttempts:
			return a.back(ctx, fail("interrupted", "the agent was killed %d times in this run", maxAttempts))
		}
	}
	if failure := a.forward(ctx); failure != nil {
		if a.keeps(ctx, failure) {
			return a.leave(ctx, failure)
		}
		return a.back(ctx, failure)
	}
	if a.record.Confirm != nil {
		return a.awaitConfirmation(ctx)
	}
	return a.finish(ctx)
}

// awaitConfirmation ends this process's part: the timer goes back unless `confirm` comes.
func (a *Activation) awaitConfirmation(ctx context.Context) error {
	a.openWindow()
	a.record.State = stateProvisional
	err := a.enter(stageConfirm, "")
	if err == nil {
		err = a.written(a.record)
	}
	if err != nil { // what cannot be written down cannot be confirmed either
		return a.back(ctx, fail("error", "%v", err))
	}
	return nil
}

// openWindow counts the window from now.
func (a *Activation) openWindow() {
	c, now := a.record.Confirm, a.clock.Now()
	c.Since, c.Deadline = stamp(now), stamp(now.Add(c.Window.Duration()))
	c.SinceUptime, c.BootID = Seconds(a.clock.Uptime().Seconds()), a.paths.bootID()
}

// forward switches, restarts and waits for health.
func (a *Activation) forward(ctx context.Context) *Failure {
	if err := a.enter(stageSwitch, ""); err != nil {
		return asFailure(ctx, err)
	}
	want, err := a.wanted()
	if err != nil {
		return asFailure(ctx, err)
	}
	other, err := a.earlier()
	if err != nil {
		return asFailure(ctx, err)
	}
	a.record.Units = changes(want, other)
	a.record.Checks = Checks{}
	if err := a.layReady(want, other); err != nil {
		return asFailure(ctx, err)
	}
	if err := a.apply(ctx, want, other); err != nil {
		return asFailure(ctx, err)
	}
	a.record.RunsNow = &a.plan.Release
	if err := a.enter(stageGate, ""); err != nil {
		return asFailure(ctx, err)
	}
	gate := a.gate(want.Main, *a.plan.Health)
	gate.OnFirst = func() { a.mark("first_healthy") }
	failure := gate.Wait(ctx)
	a.record.Checks = gate.Checks
	if failure == nil {
		a.mark("healthy")
		a.record.Healthy = pointer(true)
	}
	return failure
}

func (a *Activation) gate(unit string, health Health) *Gate {
	return &Gate{Unit: unit, Health: health, Probe: a.probe(health), Look: a.look(unit), Clock: a.clock}
}

// finish is past the point of going back: the release is well.
func (a *Activation) finish(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	if err := a.enter(stageFinish, ""); err != nil {
		if a.record.State == stateIntended { // what cannot be written down would be taken back at the next boot
			return a.back(ctx, fail("error", "%v", err))
		}
		return err
	}
	if a.record.Confirm != nil {
		a.mark("confirmed")
	}
	want, err := a.wanted()
	if err == nil {
		var other Want
		other, err = a.earlier()
		err = errors.Join(err, a.settleTimer(ctx, want, other))
	}
	err = errors.Join(err, clearBad(a.plan.Home, a.plan.Release),
		writeFile(a.paths.lastKnownGood(a.plan.Service), []byte(a.plan.Release+"\n"), 0o644), a.prune())
	if err != nil {
		// The release runs and is healthy: what could not be tidied is said, and does not undo it.
		a.record.Reason = pointer("confirmed, but: " + firstLine([]byte(err.Error())))
	}
	return a.close(ctx, stateConfirmed)
}

func (a *Activation) prune() error {
	history, err := readHistory(a.paths.history(a.plan.Service))
	if err != nil {
		return err
	}
	folders, err := listReleases(a.plan.Home, history)
	if err != nil {
		return err
	}
	protected := map[string]bool{a.plan.Release: true, currentRelease(a.plan.Home): true, a.record.Undo.Release: true,
		readLastKnownGood(a.paths.lastKnownGood(a.plan.Service)): true}
	a.record.Pruned = selectPrune(folders, a.plan.KeepReleases, protected)
	return removeReleases(a.plan.Home, a.record.Pruned)
}

// enter writes the next stage into the record.
func (a *Activation) enter(stage, detail string) error {
	now := a.clock.Now()
	a.record.Stage, a.record.Updated = stage, stamp(now)
	a.record.Stages = append(a.record.Stages,
		Stage{Stage: stage, At: stamp(now), Elapsed: since(a.record.startedAt(), now), Detail: detail})
	if a.returning {
		return a.record.saveSomewhere(a.paths)
	}
	return a.record.save(a.paths)
}

func (a *Activation) mark(what string) {
	a.record.Timings[what] = since(a.record.startedAt(), a.clock.Now())
}

// changes names what a switch does to the unit files.
func changes(want, other Want) map[string]string {
	result := map[string]string{}
	for name, content := range want.Files {
		before := other.Files[name]
		switch {
		case content == nil && before != nil:
			result[name] = "removed"
		case content != nil && before == nil:
			result[name] = "created"
		case string(content) != string(before):
			result[name] = "changed"
		case content != nil:
			result[name] = "unchanged"
		}
	}
	return result
}

func asFailure(ctx context.Context, err error) *Failure {
	var failure *Failure
	switch {
	case ctx.Err() != nil:
		return fail("interrupted", "stopped from outside")
	case errors.As(err, &failure):
		return failure
	}
	return fail("error", "%v", err)
}
