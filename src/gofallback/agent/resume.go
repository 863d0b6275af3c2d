package main

import (
	"context"
	"errors"
	"os"
)

// takeOver ends a run that was cut off, or waits to be confirmed: this one has its way back now.
func (a *Activation) takeOver(last *Record) error {
	if err := a.written(last); err != nil || last.final() {
		return err
	}
	now := stamp(a.clock.Now())
	older := last.summary()
	older.State, older.Finished, older.Updated, older.Decided = stateReverted, &now, now, &Decided{By: a.plan.StartedBy, Fence: a.fence}
	older.Cause, older.Reason = pointer("superseded"), pointer("run "+a.plan.RunID+" took over before it was confirmed")
	a.record.Superseded = &older
	return nil
}

// close writes the outcome first: it is the truth from then on, and whoever comes next settles what is missing.
func (a *Activation) close(ctx context.Context, state string) error {
	a.record.State = state
	a.record.RunsNow = optional(currentRelease(a.plan.Home))
	now := stamp(a.clock.Now())
	a.record.Finished, a.record.Updated = &now, now
	if err := a.record.saveSomewhere(a.paths); err != nil {
		logOutcome(a.record, a.record.line(a.clock.Now()))
		return err
	}
	return a.settle(ctx)
}

// settle brings everything else in line with a record that stands. It may be run again at any time.
func (a *Activation) settle(ctx context.Context) error {
	if a.record == nil {
		return errors.Join(a.disarmDeadman(ctx), a.disarmRecovery())
	}
	if _, err := os.Stat(a.paths.spilled(a.plan.Service)); err == nil {
		if err := a.record.save(a.paths); err != nil {
			return err
		}
	}
	if err := a.written(a.record); err != nil || !a.record.final() {
		return err
	}
	a.plan.Home = a.record.Home
	a.forgetSaved()
	return errors.Join(a.removeSpares(), a.disarmDeadman(ctx), a.disarmRecovery())
}

// written makes sure that the journal, and the history once it is over, have the record's state, each once.
func (a *Activation) written(record *Record) error {
	var err error
	if record.Superseded != nil {
		err = a.written(record.Superseded)
	}
	if record.final() {
		err = errors.Join(err, appendHistory(a.paths.history(record.Service), record))
	}
	return errors.Join(err, record.tell(a.paths, a.clock.Now()))
}
