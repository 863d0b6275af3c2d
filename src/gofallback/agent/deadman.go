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

// The dead-man's switch: a process that waits from before the switch on, outside of the controller's connection and of
// this agent, and a timer that starts it after a reboot and again 5 s after whatever ended it. The timer alone would not
// do: each daemon-reload, whoever asks for it, begins OnActiveSec= anew (seen with systemd 247). Both are monotonic, so
// that a wrong clock does not matter.
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

// KillMode=mixed lets the systemctl end that the agent just runs; Restart= brings a killed one back at once.
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

// armDeadman writes the units and starts both. A unit that systemd has never seen needs no daemon-reload.
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
		if err := a.systemd.Control(ctx, reloadLimit, "daemon-reload"); err != nil {
			return err
		}
	}
	// Anew, so that the window begins now even if an older run's timer is armed.
	err = a.systemd.Control(ctx, askLimit, "restart", "--", timer, service)
	if err != nil {
		err = errors.Join(a.systemd.Control(ctx, reloadLimit, "daemon-reload"),
			a.systemd.Control(ctx, askLimit, "restart", "--", timer, service))
	}
	return err
}

// disarmDeadman ends the waiting process too, unless it is this one.
func (a *Activation) disarmDeadman(ctx context.Context) error {
	timer, service := deadmanName(a.plan.Service, "timer"), deadmanName(a.plan.Service, "service")
	link, err := os.Lstat(a.deadmanLink())
	if _, missing := os.Stat(filepath.Join(a.paths.Units, timer)); link == nil && missing != nil {
		return ignoreMissing(err)
	}
	stop := []string{"stop", "--", timer}
	if !a.watching {
		stop = append(stop, service)
	}
	if err := a.systemd.Control(ctx, askLimit, stop...); err != nil {
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
			fmt.Fprintln(os.Stderr, "gofallback-agent deadman:", err) // on a full disk too it has to go back
		}
	}
	changed, stopWatching, err := watchFolders(paths.service(service), paths.Run)
	if err != nil {
		return exitRefused, err
	}
	defer stopWatching()
	record, err := newActivation(paths, Plan{Service: service}).keepWatch(ctx, changed)
	if record == nil && err == nil {
		return exitOK, nil
	}
	return conclude(record, err, out)
}

// keepWatch waits until the run is decided or its window is over, and then goes back. Nil without an error: nothing to do.
func (a *Activation) keepWatch(ctx context.Context, changed <-chan struct{}) (*Record, error) {
	a.watching = true
	var until time.Time // an agent that was killed is waited for
	for {
		record, err := loadRecord(a.paths, a.plan.Service)
		if err != nil {
			return nil, err
		}
		left, ended := time.Duration(0), (<-chan struct{})(nil)
		switch {
		case record == nil || record.final():
		case record.waits():
			left = a.left(record)
		case record.alive(a.paths):
			left, ended, until = farAway, processEnd(record.PID), time.Time{}
		default:
			if until.IsZero() {
				until = time.Now().Add(a.patience)
			}
			left = time.Until(until)
		}
		if left <= 0 {
			record, again, err := a.actUnderLock(ctx)
			switch {
			case record == nil && ctx.Err() != nil:
				return nil, nil // stopped while it waited for the lock
			case again && err == nil:
				continue
			}
			return record, err
		}
		select {
		case <-ctx.Done():
			return nil, nil // the host goes down, or somebody stopped it; the timer is still armed
		case <-changed:
		case <-ended:
		case <-time.After(left):
		}
	}
}

const farAway = 24 * time.Hour

// restartPatience leaves systemd the time to start an agent again that was killed: that one goes on where it was.
const restartPatience = 3 * time.Second

// left is how long the release may still wait, by uptime alone.
func (a *Activation) left(record *Record) time.Duration {
	now := a.clock.Uptime()
	from := record.Confirm.SinceUptime.Duration()
	if record.Confirm.BootID != a.paths.bootID() {
		from = now - record.Confirm.Window.Duration() // the timer has waited a window since the boot
	}
	if renewed := renewedAt(a.paths, a.plan.Service, record, now); renewed > from {
		from = renewed
	}
	return from + record.Confirm.Window.Duration() - now
}

// actUnderLock looks once more with the lock held, as another agent may have decided meanwhile; again: it is not over.
func (a *Activation) actUnderLock(ctx context.Context) (record *Record, again bool, err error) {
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
		return nil, false, a.settle(ctx)
	case record.Plan == nil || record.Undo == nil:
		return nil, false, fmt.Errorf("run %s left no way back in its record", record.RunID)
	case !record.waits():
		a.adopt(record, true)
		a.decidedBy("dead-man's switch")
		return a.record, false, a.goOn(ctx, fail("interrupted", "the agent was gone in stage %s", record.Stage))
	case a.left(record) > 0:
		return nil, true, nil
	}
	a.adopt(record, false)
	a.decidedBy("dead-man's switch")
	return a.record, false, a.back(ctx, fail("unconfirmed", "not confirmed within %g s", record.Confirm.Window))
}
