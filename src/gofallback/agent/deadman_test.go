package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// provisional activates a release that has to be confirmed within 60 s.
func (h *host) provisional(name, runID string) *Record {
	h.t.Helper()
	a := h.activation(h.release(name, "hello.service"), runID)
	a.window = 60
	record, err := a.Run(context.Background())
	must(h.t, err)
	if !record.awaitsConfirmation() || record.exitCode() != exitOK || currentRelease(h.home) != name {
		h.t.Fatalf("%s %s, %s is live", record.State, record.Stage, currentRelease(h.home))
	}
	return record
}

// agent is an agent that knows only the service's name, as the commands start it.
func (h *host) agent() *Activation {
	a := newActivation(h.paths, Plan{Service: "hello"})
	a.systemd, a.clock, a.probe, a.restartGrace = h.systemd, h.clock, h.probe, 0
	return a
}

func (h *host) decide(name, runID string, decided Decided) (*Record, error) {
	apply := map[string]func(*Activation, context.Context, decision) (*Record, error){
		"confirm": (*Activation).confirmRun, "revert": (*Activation).revertRun}[name]
	return h.agent().decide(context.Background(), decision{service: "hello", runID: runID, reason: "no good", decided: decided}, apply)
}

func (h *host) armed() bool {
	_, err := os.Lstat(filepath.Join(h.paths.Units, "timers.target.wants", deadmanName("hello", "timer")))
	return err == nil && h.systemd.status[deadmanName("hello", "timer")].ActiveState == "active"
}

func (h *host) lease(number int, runID string, renewed float64) {
	must(h.t, os.MkdirAll(h.paths.service("hello"), 0o755))
	must(h.t, os.WriteFile(h.paths.lease("hello"), []byte(fmt.Sprintf("%d\t%s\tal@ctl\t2026\t30\n", number, runID)), 0o644))
	must(h.t, os.WriteFile(h.paths.renewed("hello"), []byte(fmt.Sprintf("%d\t%.2f\n", number, renewed)), 0o644))
}

func TestAReleaseAwaitsItsConfirmationAndThenIsLastKnownGood(t *testing.T) {
	h := newHost(t)
	h.activate(h.release("v1", "hello.service"), "r1")
	record := h.provisional("v2", "20261122T031244Z-9f3a")
	if !h.armed() || record.Confirm.Window != 60 || readLastKnownGood(h.paths.lastKnownGood("hello")) != "v1" {
		t.Errorf("armed %v, %+v", h.armed(), record.Confirm)
	}
	again, err := h.activation("v2", "20261122T031244Z-9f3a").Run(context.Background())
	if err != nil || !again.awaitsConfirmation() {
		t.Error("the same run again changes nothing:", again.State, err)
	}
	record, err = h.decide("confirm", "20261122T031244Z-9f3a-r1", Decided{Head: strings.Repeat("a", 64), By: "al@ctl", Fence: 7})
	must(t, err)
	h.expect(record, stateConfirmed, "v2")
	if h.armed() || readLastKnownGood(h.paths.lastKnownGood("hello")) != "v2" {
		t.Error(h.onDisk())
	}
	record, err = h.decide("confirm", "20261122T031244Z-9f3a", Decided{})
	must(t, err)
	h.expect(record, stateConfirmed, "v2")
	h.expectEvents("r1 intended", "r1 confirmed", "20261122T031244Z-9f3a intended", "20261122T031244Z-9f3a provisional", "20261122T031244Z-9f3a confirmed")
	data, _ := os.ReadFile(h.paths.journal("hello"))
	if !strings.Contains(string(data), `"fence":7,"by":"al@ctl","head":"`+strings.Repeat("a", 64)) {
		t.Error(string(data))
	}
}

func TestAReleaseThatIsUnhealthyAtItsConfirmationIsReverted(t *testing.T) {
	h := newHost(t)
	h.activate(h.release("v1", "hello.service"), "r1")
	before := h.onDisk()
	h.provisional("v2", "r2")
	h.systemd.serves = "bad"
	record, err := h.decide("confirm", "r2", Decided{})
	must(t, err)
	h.expect(record, stateReverted, "v1")
	if deref(record.Cause) != "unhealthy" || h.onDisk() != before || h.armed() {
		t.Error(deref(record.Cause), h.onDisk())
	}
	record, err = h.decide("confirm", "r2", Decided{})
	must(t, err)
	if record.exitCode() != exitReverted {
		t.Error("a late confirmation returns the outcome:", record.State)
	}
}

// slow makes only the next checks fail, like a host that is overloaded for a moment.
func (h *host) slow(checks int) *Activation {
	a := h.agent()
	a.probe = func(health Health) Probe {
		return func(ctx context.Context) (string, error) {
			if checks--; checks >= 0 {
				return "", errors.New("no answer within 2s")
			}
			return h.probe(health)(ctx)
		}
	}
	return a
}

func TestOneFailedCheckBeforeAPassedOneDoesNotRevertARelease(t *testing.T) {
	for missed, state := range map[int]string{1: stateConfirmed, confirmAttempts - 1: stateConfirmed, confirmAttempts: stateReverted} {
		h := newHost(t)
		h.activate(h.release("v1", "hello.service"), "r1")
		h.provisional("v2", "r2")
		record, err := h.slow(missed).decide(context.Background(), decision{service: "hello", runID: "r2"}, (*Activation).confirmRun)
		must(t, err)
		if record.State != state {
			t.Errorf("%d checks missed: expected %s, got %s: %s", missed, state, record.State, deref(record.Reason))
		}
	}
}

func TestARunIsRevertedOnRequestAndTheReleaseIsNotMarkedBad(t *testing.T) {
	h := newHost(t)
	h.activate(h.release("v1", "hello.service"), "r1")
	before := h.onDisk()
	h.provisional("v2", "r2")
	record, err := h.decide("revert", "r2", Decided{By: "bo@ctl"})
	must(t, err)
	h.expect(record, stateReverted, "v1")
	if deref(record.Cause) != "asked" || deref(record.Reason) != "no good" || h.onDisk() != before {
		t.Error(deref(record.Cause), deref(record.Reason), h.onDisk())
	}
	if _, err := os.Stat(filepath.Join(h.home, "releases/v2/BAD")); err == nil {
		t.Error("marked bad")
	}
}

func TestAFirstReleaseThatIsRevertedLeavesNothingRunningAndIsNotAFailure(t *testing.T) {
	h := newHost(t)
	h.provisional("v1", "one")
	record, err := h.decide("revert", "one", Decided{})
	must(t, err)
	if record.State != stateReverted || record.RunsNow != nil || currentRelease(h.home) != "" {
		t.Fatalf("%s, %s is live: %s", record.State, currentRelease(h.home), deref(record.Reason))
	}
	if !strings.Contains(deref(record.Reason), "nothing ran here before") {
		t.Error(deref(record.Reason))
	}
}

func TestARunWithAnOldNumberIsRefusedAndNothingChanges(t *testing.T) {
	h := newHost(t)
	h.activate(h.release("v1", "hello.service"), "r1")
	h.provisional("v2", "r2")
	h.lease(8, "r9", 0)
	before, record := h.onDisk(), h.events()
	for _, command := range []string{"confirm", "revert"} {
		found, err := h.decide(command, "r2", Decided{Fence: 7})
		if found != nil || err == nil || err.Error() != "fenced: run r9 of al@ctl took over (number 8, ours 7)" {
			t.Error(command, found, err)
		}
	}
	a := h.activation("v1", "r3")
	a.fence = 7
	if found, err := a.Run(context.Background()); found != nil || err == nil || !strings.HasPrefix(err.Error(), "fenced: ") {
		t.Error("activate", found, err)
	}
	if h.onDisk() != before || fmt.Sprint(h.events()) != fmt.Sprint(record) {
		t.Error(h.onDisk(), h.events())
	}
	if _, err := h.decide("confirm", "r2", Decided{Fence: 8}); err != nil {
		t.Error("the holder's own number:", err)
	}
}

func TestOnlyUptimeAndRenewalsOfTheSameRunCountForTheWindow(t *testing.T) {
	h := newHost(t)
	h.clock.up = 1000 * time.Second
	h.activate(h.release("v1", "hello.service"), "r1")
	record := h.provisional("v2", "20261122T031244Z-9f3a")
	since := record.Confirm.SinceUptime.Duration()
	record.Fence = 3
	for name, c := range map[string]struct {
		set  func()
		left time.Duration
	}{
		"no renewal":                     {func() {}, 60 * time.Second},
		"the wall clock jumps a day":     {func() { h.clock.now = h.clock.now.Add(24 * time.Hour) }, 60 * time.Second},
		"and back two":                   {func() { h.clock.now = h.clock.now.Add(-48 * time.Hour) }, 60 * time.Second},
		"the run renews":                 {func() { h.lease(3, "20261122T031244Z-9f3a", since.Seconds()+20) }, 80 * time.Second},
		"a continuation of it renews":    {func() { h.lease(3, "20261122T031244Z-9f3a-r1", since.Seconds()+20) }, 80 * time.Second},
		"another run renews":             {func() { h.lease(3, "20261122T031244Z-ffff", since.Seconds()+20) }, 60 * time.Second},
		"the run released its lease":     {func() { h.lease(3, "", since.Seconds()+20) }, 80 * time.Second},
		"another run released its lease": {func() { h.lease(4, "", since.Seconds()+20) }, 60 * time.Second},
		"a renewal of an earlier boot":   {func() { h.lease(3, "20261122T031244Z-9f3a", since.Seconds()+5000) }, 60 * time.Second},
	} {
		_ = os.Remove(h.paths.lease("hello"))
		h.clock.up = since + 30*time.Second
		c.set()
		if left := h.agent().timeLeft(record); left.Round(time.Second) != c.left-30*time.Second {
			t.Errorf("%s: %v left, expected %v", name, left, c.left-30*time.Second)
		}
	}
}

func TestTheDeadMansSwitchRevertsAtTheEndOfTheWindowAndNotBefore(t *testing.T) {
	h := newHost(t)
	h.activate(h.release("v1", "hello.service"), "r1")
	before := h.onDisk()
	h.provisional("v2", "r2")
	h.clock.up += 59 * time.Second
	if _, again, err := h.agent().actLocked(context.Background()); !again || err != nil || currentRelease(h.home) != "v2" {
		t.Fatal(again, err, h.onDisk())
	}
	h.clock.up += time.Second
	record, err := h.agent().waitForDecision(context.Background(), nil)
	must(t, err)
	h.expect(record, stateReverted, "v1")
	if deref(record.Cause) != "unconfirmed" || h.onDisk() != before || h.armed() {
		t.Error(deref(record.Cause), h.onDisk())
	}
	h.expectEvents("r1 intended", "r1 confirmed", "r2 intended", "r2 provisional", "r2 reverted")
	if record, err := h.agent().waitForDecision(context.Background(), nil); record != nil || err != nil {
		t.Error("it is over:", record, err)
	}
}

func TestADeadMansSwitchKilledAnywhereInARevertCompletesItWhenRestarted(t *testing.T) {
	for n := 1; ; n++ {
		h := newHost(t)
		h.activate(h.release("v1", "hello.service", "hello-extra.timer"), "r1")
		before := h.onDisk()
		h.provisional("v2", "r2")
		h.clock.up += time.Minute
		finished := !h.killed(n, func() { _, _ = h.agent().waitForDecision(context.Background(), nil) })
		if !finished {
			h.forgetProcess()
			_, err := h.agent().waitForDecision(context.Background(), nil)
			must(t, err)
		}
		record, err := loadRecord(h.paths, "hello")
		must(t, err)
		h.expect(record, stateReverted, "v1")
		if after := h.onDisk(); after != before || h.armed() {
			t.Fatalf("killed at %d\nbefore: %s\nafter:  %s", n, before, after)
		}
		h.expectEvents("r1 intended", "r1 confirmed", "r2 intended", "r2 provisional", "r2 reverted")
		if finished {
			if n < 5 {
				t.Errorf("only %d places to be killed at", n)
			}
			return
		}
	}
}

func TestAConfirmationKilledAnywhereEndsInOneOutcome(t *testing.T) {
	for n := 1; ; n++ {
		h := newHost(t)
		h.activate(h.release("v1", "hello.service"), "r1")
		h.provisional("v2", "r2")
		finished := !h.killed(n, func() { _, _ = h.decide("confirm", "r2", Decided{By: "al@ctl"}) })
		if !finished {
			h.forgetProcess()
			h.clock.up += time.Hour
			_, err := h.agent().waitForDecision(context.Background(), nil)
			must(t, err)
		}
		record, err := loadRecord(h.paths, "hello")
		must(t, err)
		h.expect(record, record.State, map[string]string{stateConfirmed: "v2", stateReverted: "v1"}[record.State])
		h.expectEvents("r1 intended", "r1 confirmed", "r2 intended", "r2 provisional", "r2 "+record.State)
		if by := record.journalLine(epoch).By; record.State == stateConfirmed && by != "al@ctl" {
			t.Errorf("killed at %d: confirmed by %q", n, by)
		}
		if finished {
			if n < 3 {
				t.Errorf("only %d places to be killed at", n)
			}
			return
		}
	}
}

func TestAnActivationWithAWindowKilledAnywhereIsRevertedByTheTimerAlone(t *testing.T) {
	for n := 1; ; n++ {
		h := newHost(t)
		h.activate(h.release("v1", "hello.service"), "r1")
		before := h.onDisk()
		h.release("v2", "hello.service", "hello.socket")
		a := h.activation("v2", "r2")
		a.window = 60
		if !h.killed(n, func() { _, _ = a.Run(context.Background()) }) {
			if n < 10 {
				t.Errorf("only %d places to be killed at", n)
			}
			return
		}
		if !h.armed() {
			if currentRelease(h.home) != "v1" || h.systemd.serves != "v1" {
				t.Fatalf("killed at %d, not armed: %s", n, h.onDisk())
			}
			continue // nothing was switched yet; the next run or boot removes the record
		}
		h.forgetProcess()
		h.clock.up += time.Hour
		record, err := h.agent().waitForDecision(context.Background(), nil)
		must(t, err)
		h.expect(record, stateReverted, "v1")
		if after := h.onDisk(); after != before || h.armed() {
			t.Fatalf("killed at %d\nbefore: %s\nafter:  %s", n, before, after)
		}
		if events := h.events(); events[len(events)-1] != "r2 reverted" {
			t.Error(events)
		}
	}
}

func TestAFirstReleaseThatIsNotConfirmedIsStoppedAndRemoved(t *testing.T) {
	h := newHost(t)
	h.provisional("v1", "r1")
	h.clock.up += time.Hour
	record, err := h.agent().waitForDecision(context.Background(), nil)
	must(t, err)
	h.expect(record, stateReverted, "") // to what was there before: nothing
	if h.systemd.status["hello.service"].ActiveState != "inactive" || h.armed() {
		t.Error(h.onDisk())
	}
	h.expectEvents("r1 intended", "r1 provisional", "r1 reverted")
}

// killed runs a step whose process is killed before its n-th call of systemd; false: it made fewer calls.
func (h *host) killed(n int, step func()) (wasKilled bool) {
	h.systemd.calls, h.systemd.killAt = 0, n
	defer func() {
		h.systemd.killAt = 0
		if thrown := recover(); thrown == (killed{}) {
			wasKilled = true
		} else if thrown != nil {
			panic(thrown)
		}
	}()
	step()
	return false
}

// forgetProcess marks the record's agent as ended: in a test that process is the test itself.
func (h *host) forgetProcess() {
	record, err := loadRecord(h.paths, "hello")
	must(h.t, err)
	record.PID, record.PIDStart = 0, 0
	must(h.t, record.save(h.paths))
}

func TestANewRunTakesOverFromAnUnconfirmedOne(t *testing.T) {
	h := newHost(t)
	h.activate(h.release("v1", "hello.service"), "r1")
	before := h.onDisk()
	h.provisional("v2", "r2")
	record := h.activate(h.release("bad3", "hello.service"), "r3")
	h.expect(record, stateReverted, "v1")
	if after := h.onDisk(); after != before || h.armed() || deref(record.Previous) != "v1" {
		t.Errorf("before: %s\nafter:  %s", before, after)
	}
	h.expectEvents("r1 intended", "r1 confirmed", "r2 intended", "r2 provisional", "r2 reverted", "r3 intended", "r3 reverted")
	older, err := h.decide("confirm", "r2", Decided{})
	if err != nil || older.State != stateReverted || deref(older.Cause) != "superseded" {
		t.Error("the older run's outcome is returned:", older, err)
	}
}

func TestAtBootAnUnconfirmedReleaseRunsAndItsWindowBeginsAnew(t *testing.T) {
	h := newHost(t)
	h.activate(h.release("v1", "hello.service"), "r1")
	h.provisional("v2", "r2")
	h.paths.Boot = filepath.Join(t.TempDir(), "boot")
	must(t, os.WriteFile(h.paths.Boot, []byte("another\n"), 0o644))
	h.systemd.status[deadmanName("hello", "timer")] = UnitStatus{}
	h.clock.up = 5 * time.Second
	record, err := recoverRun(context.Background(), h.agent())
	if record != nil || err != nil || currentRelease(h.home) != "v2" || !h.armed() {
		t.Fatal(record, err, h.onDisk())
	}
	now, err := loadRecord(h.paths, "hello")
	must(t, err)
	if left := h.agent().timeLeft(now); left != 60*time.Second || !now.awaitsConfirmation() {
		t.Error(left, now.State)
	}
	record, err = h.decide("confirm", "r2", Decided{})
	must(t, err)
	h.expect(record, stateConfirmed, "v2")
}

func TestAFailedReleaseIsKeptOnRequest(t *testing.T) {
	h := newHost(t)
	h.activate(h.release("v1", "hello.service"), "r1")
	a := h.activation(h.release("bad2", "hello.service"), "r2")
	a.keepFailed, a.window = true, 60
	record, err := a.Run(context.Background())
	must(t, err)
	h.expect(record, stateFailed, "bad2")
	var bad Bad
	must(t, readJSON(filepath.Join(h.home, "releases/bad2/BAD"), &bad))
	if bad.Cause != "deadline" || h.armed() {
		t.Error(bad, h.armed())
	}
}

func (h *host) probe(health Health) Probe {
	return func(context.Context) (string, error) {
		// The check of a release reaches the running process, whatever its release.
		if strings.HasPrefix(h.systemd.serves, "bad") || !strings.HasPrefix(health.Check.Address, h.systemd.serves+":") {
			return "", errors.New("not well")
		}
		return "well", nil
	}
}
