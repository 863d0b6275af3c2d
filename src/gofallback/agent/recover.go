package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// The unit that goes back at boot exists only while a run does: a reboot or a power cut in mid-activation must not
// leave a release running that nobody has found healthy.
const recoveryUnit = `# Written by gofallback-agent while an activation runs; removed at its end.
[Unit]
Description=Go back after an activation of %[1]s that was cut off
After=%[2]s network-online.target

[Service]
Type=oneshot
ExecStart=%[3]s recover -service %[1]s
SuccessExitStatus=3
TimeoutStartSec=infinity
Restart=on-abnormal
RestartSec=100ms

[Install]
WantedBy=multi-user.target
`

func recoveryName(service string) string { return "gofallback-recover-" + service + ".service" }

func (a *Activation) recoveryLink() string {
	return filepath.Join(a.paths.Units, "multi-user.target.wants", recoveryName(a.plan.Service))
}

// armRecovery writes unit and link itself: systemd reads them at the next boot, so this costs no daemon-reload.
func (a *Activation) armRecovery() error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	unit := filepath.Join(a.paths.Units, recoveryName(a.plan.Service))
	content := fmt.Sprintf(recoveryUnit, a.plan.Service, a.plan.MainUnit, unitWord(program))
	if _, err := writeIfDifferent(unit, []byte(content), 0o644); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(a.recoveryLink()), 0o755); err != nil {
		return err
	}
	return moveLink(a.recoveryLink(), filepath.Join("..", recoveryName(a.plan.Service)))
}

func (a *Activation) disarmRecovery() error {
	if err := ignoreMissing(os.Remove(a.recoveryLink())); err != nil {
		return err
	}
	return ignoreMissing(os.Remove(filepath.Join(a.paths.Units, recoveryName(a.plan.Service))))
}

func recoverCommand(args []string, paths Paths, out io.Writer) (int, error) {
	service, err := serviceFlag("recover", args)
	if err != nil {
		return exitRefused, err
	}
	record, err := recoverRun(context.Background(), newActivation(paths, Plan{Service: service}))
	if record == nil && err == nil {
		return exitOK, nil
	}
	return conclude(record, err, out)
}

// recoverRun takes back a run whose agent is gone; nil without an error: there is none.
func recoverRun(ctx context.Context, a *Activation) (*Record, error) {
	lock, err := takeLock(a.paths, a.plan.Service, startPatience)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	record, err := loadRecord(a.paths, a.plan.Service)
	switch {
	case err != nil || record == nil:
		return nil, err
	case record.final():
		a.record = record
		return nil, a.settle(ctx)
	case record.Plan == nil || record.Undo == nil:
		return nil, a.disarmRecovery()
	case record.waits() && (record.Confirm.BootID == a.paths.bootID() || record.Confirm.Boots+1 < maxAttempts):
		return nil, a.rearm(ctx, record)
	case record.waits(): // it may be the release that brings the host down: not for ever
		a.adopt(record, true)
		a.decidedBy("boot")
		return a.record, a.back(ctx, fail("unconfirmed", "the host was started %d times before it was confirmed", maxAttempts))
	}
	a.adopt(record, true)
	a.decidedBy("boot")
	return a.record, a.goOn(ctx, fail("interrupted", "the host went down in stage %s", record.Stage))
}

// rearm lets the window begin anew with this boot; the timer does the rest.
func (a *Activation) rearm(ctx context.Context, record *Record) error {
	a.record, a.plan = record, *record.Plan
	var err error
	if record.Confirm.BootID != a.paths.bootID() {
		a.openWindow()
		record.Confirm.Boots++
		err = record.save(a.paths)
	}
	timer, service := deadmanName(a.plan.Service, "timer"), deadmanName(a.plan.Service, "service")
	status, showErr := a.systemd.Show(ctx, timer, service)
	if showErr != nil || !status[timer].running() || !status[service].running() {
		err = errors.Join(err, a.armDeadman(ctx, record.Confirm.Window))
	}
	return err
}

// adopt takes a run over whose agent is gone.
func (a *Activation) adopt(record *Record, again bool) {
	a.record, a.plan, a.again, a.touched = record, *record.Plan, again, true
	// Without the new release's files the old one still comes back: its own check decides.
	if err := a.plan.resolve(); err != nil {
		fmt.Fprintln(os.Stderr, "gofallback-agent:", err)
	}
	record.Attempt++
	record.PID, record.PIDStart, record.BootID = os.Getpid(), startOf(os.Getpid()), a.paths.bootID()
}

// decidedBy keeps the name of who decided before, and was cut off.
func (a *Activation) decidedBy(whom string) {
	if a.record.Decided == nil {
		a.record.Decided = &Decided{By: whom}
	}
}

// unitWord is a program's path as a unit file's ExecStart= takes it, systemd.service(5).
func unitWord(path string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`).Replace(path) + `"`
}

// goOn ends what a killed agent had decided, or else goes back.
func (a *Activation) goOn(ctx context.Context, failure *Failure) error {
	switch a.record.Stage {
	case stageFinish:
		return a.finish(ctx)
	case stageRestore, stageVerify:
		failure = fail(deref(a.record.Cause), "%s", deref(a.record.Reason))
	}
	return a.back(ctx, failure)
}
