package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// apply installs a layout (link and unit files) and restarts the service, in the order that keeps the old process
// answering longest. It may be repeated after a kill at any point. It returns when systemd starts the service. replaced is
// the layout that was installed before.
func (a *Activation) apply(ctx context.Context, want, replaced Layout) error {
	a.touched = true
	names := unique(append(keys(want.Files), want.Main))
	status, err := a.systemd.Show(ctx, names...)
	if err := a.tolerate(err); err != nil {
		return err
	}
	if err := a.tolerate(a.stopObsolete(ctx, want, status)); err != nil {
		return err
	}
	status, err = a.placeUnits(ctx, want, names, status)
	if err != nil {
		return err
	}
	if err := setCurrent(a.plan.Home, want.Release); err != nil {
		return err
	}
	if !want.Start {
		return nil
	}
	if err := a.tolerate(a.enable(ctx, want, status)); err != nil {
		return err
	}
	if a.record.Stage == stageSwitch {
		a.markTime("switched")
		if err := a.enterStage(stageRestart, ""); err != nil {
			return err
		}
	}
	return a.restart(ctx, want, replaced, status)
}

// placeUnits installs the unit files that differ, makes systemd reload them, and returns the status of all units after that.
func (a *Activation) placeUnits(
	ctx context.Context, want Layout, names []string, status map[string]UnitStatus,
) (map[string]UnitStatus, error) {
	reload := a.dirty // an agent may have been killed between writing files and the reload
	for _, name := range names {
		changed, err := a.placeUnit(name, want.Files)
		if err := a.tolerate(err); err != nil {
			return status, err
		}
		reload = reload || changed || status[name].NeedReload
	}
	if !reload {
		return status, nil
	}
	err := a.systemd.Control(ctx, reloadTimeout, "daemon-reload")
	if err == nil {
		status, err = a.systemd.Show(ctx, names...)
	}
	return status, a.tolerate(err)
}

// tolerate drops an error during a revert: only a failed start may keep the earlier release from running.
func (a *Activation) tolerate(err error) error {
	if err != nil && a.reverting {
		fmt.Fprintln(os.Stderr, "gofallback-agent:", err)
		a.problems = append(a.problems, err)
		return nil
	}
	return err
}

// stopObsolete stops and disables units that the layout does not have, and the service if it is not to run.
func (a *Activation) stopObsolete(ctx context.Context, want Layout, status map[string]UnitStatus) error {
	var stop, disable []string
	for _, name := range keys(want.Files) {
		if want.Files[name] == nil || (!want.Start && name == want.Main) {
			if status[name].busy() {
				stop = append(stop, name)
			}
			if status[name].enabled() && !want.Enabled[name] {
				disable = append(disable, name)
			}
		}
	}
	if len(stop) > 0 {
		if err := a.systemd.Control(ctx, stopTimeout(status[want.Main]), append([]string{"stop", "--"}, stop...)...); err != nil {
			return err
		}
	}
	if len(disable) > 0 {
		// Without --no-reload systemctl would reread every unit file; apply reloads once, after removing the files.
		return a.systemd.Control(ctx, reloadTimeout, append([]string{"disable", "--quiet", "--no-reload", "--"}, disable...)...)
	}
	return nil
}

// stopTimeout exceeds the time that systemd gives the service to stop.
func stopTimeout(main UnitStatus) time.Duration { return main.TimeoutStop + 15*time.Second }

func (a *Activation) placeUnit(name string, files map[string][]byte) (changed bool, err error) {
	content, known := files[name]
	if !known {
		return false, nil
	}
	path := filepath.Join(a.paths.Units, name)
	if content != nil {
		changed, err := writeIfDifferent(path, content, 0o644)
		if err != nil && useStagedFile(path, content) {
			return true, syncFolder(a.paths.Units)
		}
		return changed, err
	}
	if err := os.Remove(path); err != nil {
		return false, ignoreMissing(err)
	}
	return true, nil
}

// enable sets which units start at boot. Units without [Install] are "static" and not touched.
func (a *Activation) enable(ctx context.Context, want Layout, status map[string]UnitStatus) error {
	var on, off []string
	for _, name := range keys(want.Files) {
		if want.Files[name] == nil {
			continue
		}
		enabled := want.Enabled == nil || want.Enabled[name]
		switch state := status[name].UnitFileState; {
		case enabled && state == "disabled":
			on = append(on, name)
		case !enabled && state == "enabled":
			off = append(off, name)
		}
	}
	if len(on) > 0 {
		if err := a.systemd.Control(ctx, reloadTimeout, append([]string{"enable", "--quiet", "--"}, on...)...); err != nil {
			return err
		}
	}
	if len(off) > 0 {
		return a.systemd.Control(ctx, reloadTimeout, append([]string{"disable", "--quiet", "--"}, off...)...)
	}
	return nil
}

// restart restarts the service. A socket unit that listens already and whose file does not change is kept: the kernel
// queues connections for it while the service is down, so that none is refused.
func (a *Activation) restart(ctx context.Context, want, replaced Layout, status map[string]UnitStatus) error {
	main := status[want.Main]
	if want.Socket != "" {
		same := bytes.Equal(want.Files[want.Socket], replaced.Files[want.Socket])
		if !same || !status[want.Socket].running() {
			// systemd refuses to open a socket whose service runs: the service has to be stopped first.
			err := a.systemd.Control(ctx, stopTimeout(main), "stop", "--", want.Main, want.Socket)
			if err == nil {
				err = a.systemd.Control(ctx, queryTimeout, "start", "--", want.Socket)
			}
			if err != nil {
				return err
			}
		}
	}
	// Without it, restart counter and start limit of earlier crashes count against this start.
	_ = a.systemd.Control(ctx, queryTimeout, "reset-failed", "--", want.Main)
	before, err := a.statusOf(want.Main)(ctx)
	if err != nil {
		return err
	}
	if err := a.systemd.Control(ctx, queryTimeout, "restart", "--no-block", "--", want.Main); err != nil {
		return err
	}
	return a.awaitStart(ctx, want.Main, before)
}

// awaitStart waits until systemd has stopped the old process and starts the new one, which has a new invocation id.
func (a *Activation) awaitStart(ctx context.Context, unit string, before UnitStatus) error {
	end := a.clock.Now().Add(stopTimeout(before))
	for {
		status, err := a.statusOf(unit)(ctx)
		if err == nil {
			started := status.InvocationID != "" && status.InvocationID != before.InvocationID
			starting := status.ActiveState == "activating" && strings.HasPrefix(status.SubState, "start")
			if started && (!status.Job || starting) {
				if a.record.Stage == stageRestart {
					a.markTime("started")
				}
				return nil
			}
			if !status.Job && !started {
				return fail("not-started", "systemd did not start %s: %s", unit, notStarted(status))
			}
		}
		if now := a.clock.Now(); now.After(end) {
			return fail("not-started", "systemd has not started %s after %v", unit, stopTimeout(before))
		}
		if err := a.clock.Sleep(ctx, startPollInterval); err != nil {
			return err
		}
	}
}

// startPollInterval is short: the gate, and with it the first health check, begins when the start is seen.
const startPollInterval = 20 * time.Millisecond

func notStarted(status UnitStatus) string {
	if status.ConditionResult == "no" {
		return "a Condition= of the unit does not hold"
	}
	return fmt.Sprintf("load state %s, %s (%s), result %s", status.LoadState, status.ActiveState, status.SubState, status.Result)
}

func (a *Activation) statusOf(unit string) func(context.Context) (UnitStatus, error) {
	return func(ctx context.Context) (UnitStatus, error) {
		all, err := a.systemd.Show(ctx, unit)
		return all[unit], err
	}
}

// startHealthTimer starts the health timer, and restarts it if its file has changed.
func (a *Activation) startHealthTimer(ctx context.Context, want, replaced Layout) error {
	if want.Timer == "" {
		return nil
	}
	verb := "start"
	if !bytes.Equal(want.Files[want.Timer], replaced.Files[want.Timer]) {
		verb = "restart"
	}
	return a.systemd.Control(ctx, queryTimeout, verb, "--", want.Timer)
}

// changes describes what the switch does to each unit file.
func changes(want, previous Layout) map[string]string {
	result := map[string]string{}
	for name, content := range want.Files {
		before := previous.Files[name]
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

func keys(files map[string][]byte) []string {
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	return unique(names)
}
