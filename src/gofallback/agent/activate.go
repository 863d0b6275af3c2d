package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
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
}

func newActivation(paths Paths, plan Plan) *Activation {
	return &Activation{paths: paths, systemd: Systemctl{}, clock: realClock{}, plan: plan, probe: Health.probe}
}

// maxAttempts: an agent killed this often in one run (out of memory, say) goes back instead of forward.
const maxAttempts = 3

func activateCommand(args []string, paths Paths, out io.Writer) (int, error) {
	flags := flag.NewFlagSet("activate", flag.ContinueOnError)
	path := flags.String("plan", "", "activation.json")
	runID := flags.String("run-id", "", "id of the run")
	by := flags.String("started-by", "", "who started it")
	release := flags.String("release", "", "folder in releases/; default: the plan's own")
	if err := flags.Parse(args); err != nil {
		return exitRefused, err
	}
	plan, err := loadPlan(*path)
	if err != nil {
		return exitRefused, err
	}
	for _, given := range []struct{ flag, field *string }{{runID, &plan.RunID}, {by, &plan.StartedBy}, {release, &plan.Release}} {
		if *given.flag != "" {
			*given.field = *given.flag
		}
	}
	if err := plan.resolve(); err != nil {
		return exitRefused, fmt.Errorf("%s: %w", *path, err)
	}
	if err := checkFolder(plan.Home, plan.Release); err != nil {
		return exitRefused, err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	record, err := newActivation(paths, plan).Run(ctx)
	return conclude(record, err, out)
}

// Run switches to the plan's release or goes back; the record says which. An error without a record means that nothing was touched.
func (a *Activation) Run(ctx context.Context) (*Record, error) {
	lock, err := takeLock(a.paths, a.plan.Service)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	removeStale(a.paths.service(a.plan.Service))
	last, err := loadRecord(a.paths.record(a.plan.Service))
	if err != nil {
		return nil, err
	}
	if last != nil && last.RunID == a.plan.RunID {
		if last.Release != a.plan.Release {
			return nil, fmt.Errorf("run %s is of release %s; give another -run-id for %s", last.RunID, last.Release, a.plan.Release)
		}
		if last.final() {
			return last, nil
		}
	}
	resumed := last != nil && !last.final() && last.RunID == a.plan.RunID
	if err := a.begin(ctx, last, resumed); err != nil {
		return nil, err
	}
	return a.record, a.drive(ctx, resumed)
}

// begin writes the first record: from here on the run can be taken back.
func (a *Activation) begin(ctx context.Context, last *Record, resumed bool) error {
	now := stamp(a.clock.Now())
	a.record = &Record{Schema: 1, Service: a.plan.Service, Home: a.plan.Home, RunID: a.plan.RunID,
		StartedBy: a.plan.StartedBy, State: stateRunning, Stage: stagePrepare, Release: a.plan.Release, Attempt: 1,
		Timings: map[string]float64{}, Started: now, Plan: a.plan.toKeep()}
	var undo *Undo
	if resumed {
		a.record = last
		a.record.Attempt++
	}
	if last != nil && !last.final() {
		undo, a.again = last.Undo, true
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

// drive goes forward, or on from where a killed agent was.
func (a *Activation) drive(ctx context.Context, resumed bool) error {
	if err := a.armRecovery(); err != nil {
		return a.back(ctx, fail("error", "%v", err))
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
		return a.back(ctx, failure)
	}
	return a.finish(ctx)
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
		return err
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
		a.record.Reason = pointer("activated, but: " + firstLine([]byte(err.Error())))
	}
	return a.close(stateActivated)
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

// close writes the outcome, last: whoever sees it finds everything else in place.
func (a *Activation) close(state string) error {
	a.record.State = state
	a.record.RunsNow = optional(currentRelease(a.plan.Home))
	now := stamp(a.clock.Now())
	a.record.Finished, a.record.Updated = &now, now
	err := appendHistory(a.paths.history(a.plan.Service), a.record)
	err = errors.Join(err, a.record.save(a.paths.record(a.plan.Service)))
	if err == nil {
		a.forgetSaved()
		err = a.disarmRecovery()
	}
	return err
}

// enter writes the next stage into the record.
func (a *Activation) enter(stage, detail string) error {
	now := a.clock.Now()
	a.record.Stage, a.record.Updated = stage, stamp(now)
	a.record.Stages = append(a.record.Stages,
		Stage{Stage: stage, At: stamp(now), Elapsed: since(a.record.startedAt(), now), Detail: detail})
	return a.record.save(a.paths.record(a.plan.Service))
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
