package main

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// supersede ends an earlier run that was cut off or awaits its confirmation: this run has taken over its undo data, and
// with it the duty to revert.
func (a *Activation) supersede(last *Record) error {
	if err := a.ensureLogged(last); err != nil || last.final() {
		return err
	}
	now := stamp(a.clock.Now())
	older := last.summary()
	older.State, older.Finished, older.Updated, older.Decided = stateReverted, &now, now, &Decided{By: a.plan.StartedBy, Fence: a.fence}
	older.Cause, older.Reason = pointer("superseded"), pointer("run "+a.plan.RunID+" took over before it was confirmed")
	a.record.Superseded = &older
	return nil
}

// adopt continues a run whose agent has ended.
func (a *Activation) adopt(record *Record, dirty bool) {
	a.record, a.plan, a.dirty, a.touched = record, *record.Plan, dirty, true
	// Without the new release's files the earlier release can still be restored: its own check decides.
	if err := a.plan.resolve(); err != nil {
		fmt.Fprintln(os.Stderr, "gofallback-agent:", err)
	}
	record.Attempt++
	record.PID, record.PIDStart, record.BootID = os.Getpid(), processStart(os.Getpid()), a.paths.bootID()
}

// setDecider names who ends the run. If an earlier decision was cut off, its author stays.
func (a *Activation) setDecider(name string) {
	if a.record.Decided == nil {
		a.record.Decided = &Decided{By: name}
	}
}

// resume completes the decision of an agent that was killed: confirmed in stage finish, reverted in restore and verify.
// In any earlier stage it reverts because of the failure.
func (a *Activation) resume(ctx context.Context, failure *Failure) error {
	switch a.record.Stage {
	case stageFinish:
		return a.finish(ctx)
	case stageRestore, stageVerify:
		failure = fail(deref(a.record.Cause), "%s", deref(a.record.Reason))
	}
	return a.revert(ctx, failure)
}

// conclude writes the outcome first: from then on it holds, and the next agent reconciles whatever is missing.
func (a *Activation) conclude(ctx context.Context, state string) error {
	a.record.State = state
	a.record.RunsNow = optional(currentRelease(a.plan.Home))
	now := stamp(a.clock.Now())
	a.record.Finished, a.record.Updated = &now, now
	if err := a.record.saveOrSpill(a.paths); err != nil {
		notifyJournald(a.record, a.record.journalLine(a.clock.Now()))
		return err
	}
	return a.reconcile(ctx)
}

// reconcile brings journal, history, units and copies in line with a written record. It may be repeated at any time.
func (a *Activation) reconcile(ctx context.Context) error {
	if a.record == nil {
		return errors.Join(a.disarmDeadman(ctx), a.disarmRecovery())
	}
	if _, err := os.Stat(a.paths.spilled(a.plan.Service)); err == nil {
		if err := a.record.save(a.paths); err != nil {
			return err
		}
	}
	if err := a.ensureLogged(a.record); err != nil || !a.record.final() {
		return err
	}
	a.plan.Home = a.record.Home
	a.removeOldCopies()
	return errors.Join(a.removeStaged(), a.disarmDeadman(ctx), a.disarmRecovery())
}

// ensureLogged makes sure that the journal has the record's state once, and so has the history if that state is final.
func (a *Activation) ensureLogged(record *Record) error {
	var err error
	if record.Superseded != nil {
		err = a.ensureLogged(record.Superseded)
	}
	if record.final() {
		err = errors.Join(err, appendHistory(a.paths.history(record.Service), record))
	}
	return errors.Join(err, record.logState(a.paths, a.clock.Now()))
}
