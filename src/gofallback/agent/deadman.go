package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// The dead-man's switch reverts a release that is not confirmed in time. It is a process that waits from before the
// switch on, independent of the controller's connection and of this agent, and a timer that starts the process after a
// reboot, and again 5 s after the process ended for whatever reason. The timer alone would not do: every daemon-reload,
// whoever runs it, restarts OnActiveSec= (seen with systemd 247). Both clocks are monotonic, so that a wrong wall clock
// does not matter.
const deadmanTimer = `# Written by gofallback-agent before a switch that has to be confirmed; removed when that is decided.
[Unit]
Description=Go back if the release of %[1]s is not confirmed within %[2]g s
CollectMode=inactive-or-failed

[Timer]
OnActiveSec=%[2]gs
OnUnitInactiveSec=5s
AccuracySec=100ms

[Install]
WantedBy=timers.target
`

// KillMode=mixed lets a systemctl that the agent runs end first; Restart= restarts a killed process at once.
const deadmanService = `# Written by gofallback-agent before a switch that has to be confirmed; removed when that is decided.
[Unit]
Description=Go back if the release of %[1]s is not confirmed
CollectMode=inactive-or-failed
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart=%[2]s deadman -service %[1]s
SuccessExitStatus=3
KillMode=mixed
Restart=on-abnormal
RestartSec=100ms
TimeoutStopSec=120
`

func deadmanName(service, kind string) string { return "gofallback-deadman-" + service + "." + kind }

func (a *Activation) deadmanLink() string {
	return filepath.Join(a.paths.Units, "timers.target.wants", deadmanName(a.plan.Service, "timer"))
}

// armDeadman writes timer and service and starts both. A unit that systemd has never loaded needs no daemon-reload.
func (a *Activation) armDeadman(ctx context.Context, window Seconds) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	timer, service := deadmanName(a.plan.Service, "timer"), deadmanName(a.plan.Service, "service")
	for name, content := range map[string]string{
		timer:   fmt.Sprintf(deadmanTimer, a.plan.Service, window),
		service: fmt.Sprintf(deadmanService, a.plan.Service, unitWord(program)),
	} {
		if _, err := writeIfDifferent(filepath.Join(a.paths.Units, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(a.deadmanLink()), 0o755); err != nil {
		return err
	}
	if err := moveLink(a.deadmanLink(), filepath.Join("..", timer)); err != nil {
		return err
	}
	status, err := a.systemd.Show(ctx, timer, service)
	if err != nil {
		return err
	}
	if status[timer].NeedReload || status[service].NeedReload {
		if err := a.systemd.Control(ctx, reloadTimeout, "daemon-reload"); err != nil {
			return err
		}
	}
	// restart, not start: the window begins now even if an older run's timer is armed.
	err = a.systemd.Control(ctx, queryTimeout, "restart", "--", timer, service)
	if err != nil {
		err = errors.Join(a.systemd.Control(ctx, reloadTimeout, "daemon-reload"),
			a.systemd.Control(ctx, queryTimeout, "restart", "--", timer, service))
	}
	return err
}

// disarmDeadman removes the timer and stops the waiting process, unless this is that process.
func (a *Activation) disarmDeadman(ctx context.Context) error {
	timer, service := deadmanName(a.plan.Service, "timer"), deadmanName(a.plan.Service, "service")
	link, err := os.Lstat(a.deadmanLink())
	if _, missing := os.Stat(filepath.Join(a.paths.Units, timer)); link == nil && missing != nil {
		return ignoreMissing(err)
	}
	stop := []string{"stop", "--", timer}
	if !a.isDeadman {
		stop = append(stop, service)
	}
	if err := a.systemd.Control(ctx, queryTimeout, stop...); err != nil {
		return err
	}
	for _, path := range []string{a.deadmanLink(), filepath.Join(a.paths.Units, timer), filepath.Join(a.paths.Units, service)} {
		if err := ignoreMissing(os.Remove(path)); err != nil {
			return err
		}
	}
	return nil
}

func deadmanCommand(args []string, paths Paths, out io.Writer) (int, error) {
	service, err := serviceFlag("deadman", args)
	if err != nil {
		return exitRefused, err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	for _, folder := range []string{paths.service(service), paths.Run} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			fmt.Fprintln(os.Stderr, "gofallback-agent deadman:", err) // a full disk must not stop the revert
		}
	}
	changed, stopWatching, err := watchFolders(paths.service(service), paths.Run)
	if err != nil {
		return exitRefused, err
	}
	defer stopWatching()
	record, err := newActivation(paths, Plan{Service: service}).waitForDecision(ctx, changed)
	if record == nil && err == nil {
		return exitOK, nil
	}
	return printOutcome(record, err, out)
}

// waitForDecision waits until the run is decided, or reverts it at the end of its window. Nil without an error: there was
// nothing to revert.
func (a *Activation) waitForDecision(ctx context.Context, changed <-chan struct{}) (*Record, error) {
	a.isDeadman = true
	var graceEnd time.Time // until then, systemd may restart an agent that was killed
	for {
		record, err := loadRecord(a.paths, a.plan.Service)
		if err != nil {
			return nil, err
		}
		left, ended := time.Duration(0), (<-chan struct{})(nil)
		switch {
		case record == nil || record.final():
		case record.awaitsConfirmation():
			left = a.timeLeft(record)
		case record.writerAlive(a.paths):
			left, ended, graceEnd = noDeadline, processEnd(record.PID), time.Time{}
		default:
			if graceEnd.IsZero() {
				graceEnd = time.Now().Add(a.restartGrace)
			}
			left = time.Until(graceEnd)
		}
		if left <= 0 {
			record, renewed, err := a.actLocked(ctx)
			switch {
			case record == nil && ctx.Err() != nil:
				return nil, nil // stopped while waiting for the lock
			case renewed && err == nil:
				continue
			}
			return record, err
		}
		select {
		case <-ctx.Done():
			return nil, nil // the host goes down, or an operator stopped this unit; the timer is still armed
		case <-changed:
		case <-ended:
		case <-time.After(left):
		}
	}
}

const noDeadline = 24 * time.Hour

// defaultRestartGrace gives systemd time to restart an agent that was killed: that agent resumes the run.
const defaultRestartGrace = 3 * time.Second

// timeLeft is the rest of the confirmation window, by uptime alone.
func (a *Activation) timeLeft(record *Record) time.Duration {
	now := a.clock.Uptime()
	from := record.Confirm.SinceUptime.Duration()
	if record.Confirm.BootID != a.paths.bootID() {
		from = now - record.Confirm.Window.Duration() // after a reboot the timer has already waited a whole window
	}
	if renewed := lastRenewal(a.paths, a.plan.Service, record, now); renewed > from {
		from = renewed
	}
	return from + record.Confirm.Window.Duration() - now
}

// actLocked reads the record again under the lock, because another agent may have decided meanwhile, and then reverts.
// renewed: the window was extended and is not over.
func (a *Activation) actLocked(ctx context.Context) (record *Record, renewed bool, err error) {
	lock, err := awaitLock(ctx, a.paths, a.plan.Service)
	if err != nil {
		return nil, false, err
	}
	defer lock.Close()
	record, err = loadRecord(a.paths, a.plan.Service)
	if err != nil {
		return nil, false, err
	}
	switch {
	case record == nil || record.final():
		a.record = record
		return nil, false, a.reconcile(ctx)
	case record.Plan == nil || record.Undo == nil:
		return nil, false, fmt.Errorf("the record of run %s has no plan or no undo: it cannot be reverted", record.RunID)
	case !record.awaitsConfirmation():
		a.adopt(record, true)
		a.setDecider("dead-man's switch")
		return a.record, false, a.resume(ctx, fail("interrupted", "the agent ended in stage %s", record.Stage))
	case a.timeLeft(record) > 0:
		return nil, true, nil
	}
	a.adopt(record, false)
	a.setDecider("dead-man's switch")
	return a.record, false, a.revert(ctx, fail("unconfirmed", "not confirmed within %g s", record.Confirm.Window))
}
