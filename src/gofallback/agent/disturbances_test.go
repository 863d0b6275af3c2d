package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOnlyRootCanHoldTheLockOfAnAgent(t *testing.T) {
	h := newHost(t)
	must(t, os.MkdirAll(h.paths.service("hello"), 0o755))
	must(t, os.WriteFile(h.paths.lock("hello"), nil, 0o644)) // as an older agent left it
	h.activate(h.release("v1", "hello.service"), "r1")
	info, err := os.Stat(h.paths.lock("hello"))
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("%v: whoever can read it can hold it, and the dead-man's switch waits forever", info.Mode())
	}
}

func TestARevertDoesNotNeedTheCopiesOfUnitFiles(t *testing.T) {
	for name, damage := range map[string]func(folder string) error{
		"gone":    os.RemoveAll,
		"changed": func(folder string) error { return os.WriteFile(folder+"/hello.service", []byte("torn"), 0o644) },
	} {
		h := newHost(t)
		h.activate(h.release("v1", "hello.service"), "r1")
		before := h.onDisk()
		h.provisional("v2", "r2")
		must(t, damage(h.paths.saved("hello", "r2")))
		record, err := h.decide("revert", "r2", Decided{})
		must(t, err)
		h.expect(record, stateReverted, "v1")
		if after := h.onDisk(); after != before || deref(record.Reason) != "no good" {
			t.Errorf("%s: %s\nbefore: %s\nafter:  %s", name, deref(record.Reason), before, after)
		}
	}
}

func TestAUnitChangedByHandWhoseCopyIsGoneIsReplacedByTheReleasesOwnAndReported(t *testing.T) {
	h := newHost(t)
	h.activate(h.release("v1", "hello.service"), "r1")
	must(t, os.WriteFile(filepath.Join(h.paths.Units, "hello.service"), []byte("by hand"), 0o644))
	h.provisional("v2", "r2")
	must(t, os.RemoveAll(h.paths.saved("hello", "r2")))
	must(t, os.Remove(stagedPath(filepath.Join(h.paths.Units, "hello.service"))))
	record, err := h.decide("revert", "r2", Decided{})
	must(t, err)
	h.expect(record, stateReverted, "v1")
	if !strings.Contains(h.onDisk(), "hello.service of v1") || !strings.Contains(deref(record.Reason), "the copy of hello.service as it was is gone") {
		t.Error(h.onDisk(), deref(record.Reason))
	}
}

func TestAHostThatIsRebootedThreeTimesBeforeAConfirmationReverts(t *testing.T) {
	h := newHost(t)
	h.activate(h.release("v1", "hello.service"), "r1")
	h.provisional("v2", "r2")
	h.paths.Boot = filepath.Join(t.TempDir(), "boot")
	var record *Record
	for boot := 1; record == nil; boot++ {
		if boot > maxAttempts {
			t.Fatal("it never ends")
		}
		must(t, os.WriteFile(h.paths.Boot, []byte(fmt.Sprint(boot)), 0o644))
		for again := 0; again < 2; again++ { // started by hand once more in the same boot, which is not a reboot
			if found, err := recoverRun(context.Background(), h.agent()); err != nil {
				t.Fatal(err)
			} else if found != nil {
				record = found
			}
		}
	}
	h.expect(record, stateReverted, "v1")
	if deref(record.Reason) != "the host was started 3 times before it was confirmed" || h.armed() {
		t.Error(deref(record.Reason))
	}
	if _, err := os.Stat(filepath.Join(h.home, "releases/v2/BAD")); err == nil {
		t.Error("marked bad, although the release may not be the cause")
	}
}

func TestADamagedRecordIsRefusedInOneLineWithARemedy(t *testing.T) {
	for _, content := range []string{
		"", "null", "{}", "[1]", "{\"state\":\"prov", `{"service":"hello","state":"odd"}`, `{"service":"other","state":"confirmed"}`, "\x00\x00\x00",
	} {
		h := newHost(t)
		h.activate(h.release("v1", "hello.service"), "r1")
		must(t, os.WriteFile(h.paths.record("hello"), []byte(content), 0o600))
		before := h.onDisk()
		_, activateErr := h.activation(h.release("v2", "hello.service"), "r2").Run(context.Background())
		_, bootErr := recoverRun(context.Background(), h.agent())
		_, watchErr := h.agent().waitForDecision(context.Background(), nil)
		_, confirmErr := h.decide("confirm", "r2", Decided{})
		for _, err := range []error{activateErr, bootErr, watchErr, confirmErr} {
			if err == nil || !strings.Contains(err.Error(), "outcome.json: ") || !strings.Contains(err.Error(), "move the file away") {
				t.Errorf("%q: %v", content, err)
			}
		}
		if h.onDisk() != before {
			t.Errorf("%q: %s", content, h.onDisk())
		}
		must(t, os.Remove(h.paths.record("hello")))
		h.expect(h.activate("v2", "r2"), stateConfirmed, "v2")
	}
}

func TestARecordThatLacksPartsIsReverted(t *testing.T) {
	h := newHost(t)
	h.activate(h.release("v1", "hello.service"), "r1")
	record := h.provisional("v2", "r2")
	record.Confirm, record.Timings = nil, nil
	must(t, record.save(h.paths))
	found, err := h.agent().waitForDecision(context.Background(), nil)
	must(t, err)
	h.expect(found, stateReverted, "v1")
}

func TestALongLineOfRubbishInTheHistoryStopsNoRun(t *testing.T) {
	h := newHost(t)
	h.activate(h.release("v1", "hello.service"), "r1")
	must(t, os.WriteFile(h.paths.history("hello"), []byte(strings.Repeat("\x00", 3<<20)), 0o600))
	h.expect(h.activate(h.release("v2", "hello.service"), "r2"), stateConfirmed, "v2")
	history, err := readHistory(h.paths.history("hello"))
	if err != nil || len(history) != 2 || history[1].RunID != "r2" {
		t.Error(history, err)
	}
}

func TestADamagedLeaseOrRenewalNeitherPassesTheFenceNorExtendsTheWindow(t *testing.T) {
	h := newHost(t)
	for _, content := range []string{"", "x", "99999999999999999999\tr\tw", "²\tr", "-\t"} {
		must(t, os.MkdirAll(h.paths.service("hello"), 0o755))
		must(t, os.WriteFile(h.paths.lease("hello"), []byte(content), 0o644))
		if err := checkFence(h.paths, "hello", 7); err == nil || strings.ContainsAny(err.Error(), "\n") {
			t.Errorf("%q: %v", content, err)
		}
	}
	h.lease(3, "r1", 0)
	for _, content := range []string{"", "3", "3\t", "3\tNaN", "3\t+Inf", "3\t1e300", "3\t-5", "3\t99999999999", "x\t5", "3\t5\t6"} {
		must(t, os.WriteFile(h.paths.renewed("hello"), []byte(content), 0o644))
		if at := lastRenewal(h.paths, "hello", &Record{RunID: "r1"}, time.Hour); at > 0 {
			t.Errorf("%q: %v", content, at)
		}
	}
}

func TestTheDeadMansSwitchRunsBeforeTheSwitchAndLeavesAKilledAgentToSystemdFirst(t *testing.T) {
	h := newHost(t)
	h.activate(h.release("v1", "hello.service"), "r1")
	a := h.activation(h.release("v2", "hello.service"), "r2")
	a.window = 60
	if !h.killed(9, func() { _, _ = a.Run(context.Background()) }) {
		t.Fatal("it ended")
	}
	if h.systemd.status[deadmanName("hello", "service")].ActiveState != "active" {
		t.Error("a daemon-reload restarts the timer's window: the process has to run")
	}
	h.forgetProcess()
	watch, changed := h.agent(), make(chan struct{})
	watch.restartGrace = time.Hour
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		for i := 0; i < 3; i++ {
			changed <- struct{}{} // renewals of the lease
		}
		stop()
	}()
	if record, err := watch.waitForDecision(ctx, changed); record != nil || err != nil {
		t.Error("systemd restarts the agent, which resumes the run:", record, err)
	}
	record, err := h.agent().waitForDecision(context.Background(), nil)
	must(t, err)
	h.expect(record, stateReverted, "v1")
	if status := h.systemd.status[deadmanName("hello", "timer")]; status.ActiveState != "inactive" {
		t.Error(status)
	}
}

func TestTheWaitingProcessEndsWithTheDecision(t *testing.T) {
	h := newHost(t)
	h.activate(h.release("v1", "hello.service"), "r1")
	h.provisional("v2", "r2")
	if _, err := h.decide("confirm", "r2", Decided{}); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"timer", "service"} {
		if status := h.systemd.status[deadmanName("hello", kind)]; status.ActiveState != "inactive" {
			t.Errorf("%s: %s", kind, status.ActiveState)
		}
	}
}
