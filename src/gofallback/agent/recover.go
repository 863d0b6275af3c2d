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

// recoveryUnit reverts at boot a run that was cut off. It exists only while a run is in progress: a reboot or a power cut
// in mid-activation must not leave a release running that no gate has found healthy.
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

// armRecovery writes unit and link without systemctl: systemd reads them at the next boot, so no daemon-reload is needed.
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
	return printOutcome(record, err, out)
}

// recoverRun reverts a run whose agent has ended. Nil without an error: there was nothing to revert.
func recoverRun(ctx context.Context, a *Activation) (*Record, error) {
	lock, err := takeLock(a.paths, a.plan.Service, startLockTimeout)
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
		return nil, a.reconcile(ctx)
	case record.Plan == nil || record.Undo == nil:
		return nil, a.disarmRecovery()
	case record.awaitsConfirmation() && (record.Confirm.BootID == a.paths.bootID() || record.Confirm.Boots+1 < maxAttempts):
		return nil, a.rearm(ctx, record)
	case record.awaitsConfirmation(): // the release itself may be what brings the host down: no further window
		a.adopt(record, true)
		a.setDecider("boot")
		return a.record, a.revert(ctx, fail("unconfirmed", "the host was started %d times before it was confirmed", maxAttempts))
	}
	a.adopt(record, true)
	a.setDecider("boot")
	return a.record, a.resume(ctx, fail("interrupted", "the host went down in stage %s", record.Stage))
}

// rearm starts the window again in this boot; the dead-man's switch does the rest.
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

// unitWord quotes a program's path for ExecStart= of a unit file, systemd.service(5).
func unitWord(path string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`).Replace(path) + `"`
}
