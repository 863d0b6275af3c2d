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

// apply brings link and unit files to a state and (re)starts the service, in the order that keeps the old one answering longest.
// It may be run again after a kill at any point. It returns when systemd has begun to start the service.
func (a *Activation) apply(ctx context.Context, want, other Want) error {
	a.touched = true
	names := unique(append(keys(want.Files), want.Main))
	status, err := a.systemd.Show(ctx, names...)
	if err := a.tolerate(err); err != nil {
		return err
	}
	if err := a.tolerate(a.retire(ctx, want, status)); err != nil {
		return err
	}
	reload := a.again // a killed agent may have written files and not come to the reload
	for _, name := range names {
		changed, err := a.placeUnit(name, want.Files)
		if err := a.tolerate(err); err != nil {
			return err
		}
		reload = reload || changed || status[name].NeedReload
	}
	if reload {
		err := a.systemd.Control(ctx, reloadLimit, "daemon-reload")
		if err == nil {
			status, err = a.systemd.Show(ctx, names...)
		}
		if err := a.tolerate(err); err != nil {
			return err
		}
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
		a.mark("switched")
		if err := a.enter(stageRestart, ""); err != nil {
			return err
		}
	}
	return a.restart(ctx, want, other, status)
}

// tolerate lets nothing but the start itself keep the earlier release from running.
func (a *Activation) tolerate(err error) error {
	if err != nil && a.returning {
		fmt.Fprintln(os.Stderr, "gofallback-agent:", err)
		a.problems = append(a.problems, err)
		return nil
	}
	return err
}

// retire stops and disables units that the wanted state does not have, and the service if it is not to run.
func (a *Activation) retire(ctx context.Context, want Want, status map[string]UnitStatus) error {
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
		if err := a.systemd.Control(ctx, stopLimit(status[want.Main]), append([]string{"stop", "--"}, stop...)...); err != nil {
			return err
		}
	}
	if len(disable) > 0 {
		// systemctl would read every unit file again by itself; apply does so once their files are gone.
		return a.systemd.Control(ctx, reloadLimit, append([]string{"disable", "--quiet", "--no-reload", "--"}, disable...)...)
	}
	return nil
}

// stopLimit leaves systemd the time it gives the service itself.
func stopLimit(main UnitStatus) time.Duration { return main.TimeoutStop + 15*time.Second }

func (a *Activation) placeUnit(name string, files map[string][]byte) (changed bool, err error) {
	content, known := files[name]
	if !known {
		return false, nil
	}
	path := filepath.Join(a.paths.Units, name)
	if content != nil {
		changed, err := writeIfDifferent(path, content, 0o644)
		if err != nil && useSpare(path, content) {
			return true, syncFolder(a.paths.Units)
		}
		return changed, err
	}
	if err := os.Remove(path); err != nil {
		return false, ignoreMissing(err)
	}
	return true, nil
}

// enable sets what starts at boot. Units without [Install] are "static" and left alone.
func (a *Activation) enable(ctx context.Context, want Want, status map[string]UnitStatus) error {
	var on, off []string
	for _, name := range keys(want.Files) {
		if want.Files[name] == nil {
			continue
		}
		wished := want.Enabled == nil || want.Enabled[name]
		switch state := status[name].UnitFileState; {
		case wished && state == "disabled":
			on = append(on, name)
		case !wished && state == "enabled":
			off = append(off, name)
		}
	}
	if len(on) > 0 {
		if err := a.systemd.Control(ctx, reloadLimit, append([]string{"enable", "--quiet", "--"}, on...)...); err != nil {
			return err
		}
	}
	if len(off) > 0 {
		return a.systemd.Control(ctx, reloadLimit, append([]string{"disable", "--quiet", "--"}, off...)...)
	}
	return nil
}

// restart starts the service anew. A socket unit that listens already, with the same file, is kept: the kernel queues
// connections for it while the service is away, so that none is refused.
func (a *Activation) restart(ctx context.Context, want, other Want, status map[string]UnitStatus) error {
	main := status[want.Main]
	if want.Socket != "" {
		same := bytes.Equal(want.Files[want.Socket], other.Files[want.Socket])
		if !same || !status[want.Socket].running() {
			// The port has to be free first: systemd refuses to open a socket whose service runs.
			err := a.systemd.Control(ctx, stopLimit(main), "stop", "--", want.Main, want.Socket)
			if err == nil {
				err = a.systemd.Control(ctx, askLimit, "start", "--", want.Socket)
			}
			if err != nil {
				return err
			}
		}
	}
	// Otherwise the restart counter and the start limit of earlier crashes count against this start.
	_ = a.systemd.Control(ctx, askLimit, "reset-failed", "--", want.Main)
	before, err := a.look(want.Main)(ctx)
	if err != nil {
		return err
	}
	if err := a.systemd.Control(ctx, askLimit, "restart", "--no-block", "--", want.Main); err != nil {
		return err
	}
	return a.awaitStart(ctx, want.Main, before)
}

// awaitStart waits until systemd has stopped the old process and begun to start the new one: a new invocation id.
func (a *Activation) awaitStart(ctx context.Context, unit string, before UnitStatus) error {
	end := a.clock.Now().Add(stopLimit(before))
	for {
		status, err := a.look(unit)(ctx)
		if err == nil {
			started := status.InvocationID != "" && status.InvocationID != before.InvocationID
			starting := status.ActiveState == "activating" && strings.HasPrefix(status.SubState, "start")
			if started && (!status.Job || starting) {
				if a.record.Stage == stageRestart {
					a.mark("started")
				}
				return nil
			}
			if !status.Job && !started {
				return fail("not-started", "systemd did not start %s: %s", unit, notStarted(status))
			}
		}
		if now := a.clock.Now(); now.After(end) {
			return fail("not-started", "systemd has not started %s after %v", unit, stopLimit(before))
		}
		if err := a.clock.Sleep(ctx, startLookEvery); err != nil {
			return err
		}
	}
}

// startLookEvery is short: until the start is seen nobody answers.
const startLookEvery = 20 * time.Millisecond

func notStarted(status UnitStatus) string {
	if status.ConditionResult == "no" {
		return "a Condition= of the unit does not hold"
	}
	return fmt.Sprintf("load state %s, %s (%s), result %s", status.LoadState, status.ActiveState, status.SubState, status.Result)
}

func (a *Activation) look(unit string) func(context.Context) (UnitStatus, error) {
	return func(ctx context.Context) (UnitStatus, error) {
		all, err := a.systemd.Show(ctx, unit)
		return all[unit], err
	}
}

// settleTimer starts the health timer, anew if its file is another one.
func (a *Activation) settleTimer(ctx context.Context, want, other Want) error {
	if want.Timer == "" {
		return nil
	}
	verb := "start"
	if !bytes.Equal(want.Files[want.Timer], other.Files[want.Timer]) {
		verb = "restart"
	}
	return a.systemd.Control(ctx, askLimit, verb, "--", want.Timer)
}

func keys(files map[string][]byte) []string {
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	return unique(names)
}
