package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// killed is the panic value of the fake where a real agent is killed.
type killed struct{}

// fakeSystemd is an in-memory systemd. It knows unit files as they were at the last daemon-reload.
type fakeSystemd struct {
	paths   Paths
	home    string
	loaded  map[string]string
	status  map[string]UnitStatus
	serves  string // release of the running process
	starts  int
	calls   int
	killAt  int // the agent is killed before this call
	refuse  string
	stopped bool
}

func (f *fakeSystemd) count() {
	f.calls++
	if f.calls == f.killAt {
		panic(killed{})
	}
}

func (f *fakeSystemd) Show(_ context.Context, units ...string) (map[string]UnitStatus, error) {
	f.count()
	all := map[string]UnitStatus{}
	for _, unit := range units {
		status := f.status[unit]
		if status.ActiveState == "" {
			status.ActiveState = "inactive"
		}
		all[unit] = status
	}
	return all, nil
}

func (f *fakeSystemd) Control(_ context.Context, _ time.Duration, words ...string) error {
	f.count()
	if f.refuse != "" && words[0] == f.refuse {
		return errors.New(f.refuse + " refused")
	}
	if words[0] == "daemon-reload" {
		f.reload()
	}
	for _, unit := range words[1:] {
		if strings.HasPrefix(unit, "-") {
			continue
		}
		status := f.status[unit]
		switch words[0] {
		case "stop":
			status.ActiveState = "inactive"
		case "enable":
			status.UnitFileState = "enabled"
		case "disable":
			status.UnitFileState = "disabled"
		case "start", "restart":
			if f.loaded[unit] == "" { // systemd loads a file that it has never seen
				data, _ := os.ReadFile(filepath.Join(f.paths.Units, unit))
				f.loaded[unit] = string(data)
			}
			if f.loaded[unit] == "" {
				return fmt.Errorf("unit %s not found", unit)
			}
			f.starts++
			status.ActiveState, status.SubState, status.MainPID = "active", "running", f.starts
			status.InvocationID = fmt.Sprint(f.starts)
			if unit == "hello.service" {
				f.serves = currentRelease(f.home)
			}
		}
		f.status[unit] = status
	}
	return nil
}

func (f *fakeSystemd) reload() {
	f.loaded = map[string]string{}
	files, _ := filepath.Glob(filepath.Join(f.paths.Units, "*.*"))
	for _, file := range files {
		data, _ := os.ReadFile(file)
		f.loaded[filepath.Base(file)] = string(data)
	}
	for unit, status := range f.status {
		if f.loaded[unit] == "" {
			status.UnitFileState = ""
			f.status[unit] = status
		}
	}
	for unit := range f.loaded {
		if status := f.status[unit]; status.UnitFileState == "" {
			status.UnitFileState = "disabled"
			f.status[unit] = status
		}
	}
}

func (f *fakeSystemd) Stopping(context.Context) bool { return f.stopped }

func (f *fakeSystemd) Journal(context.Context, string, time.Time, time.Time, int) []string {
	return []string{"last words"}
}

// host is a target in a temporary folder. A release whose name begins with "bad" is never healthy.
type host struct {
	t       *testing.T
	paths   Paths
	home    string
	systemd *fakeSystemd
	clock   *fakeClock
}

func newHost(t *testing.T) *host {
	root := t.TempDir()
	h := &host{t: t, home: filepath.Join(root, "opt"), clock: &fakeClock{now: epoch}}
	h.paths = Paths{State: filepath.Join(root, "state"), Units: filepath.Join(root, "units"), Run: root, Boot: "/proc/sys/kernel/random/boot_id",
		Keys: filepath.Join(root, "trusted-keys")}
	must(t, os.MkdirAll(h.paths.Units, 0o755))
	h.systemd = &fakeSystemd{paths: h.paths, home: h.home, loaded: map[string]string{}, status: map[string]UnitStatus{}}
	return h
}

// release creates a release folder. Its unit files contain the release's name.
func (h *host) release(name string, units ...string) string {
	conf := filepath.Join(h.home, "releases", name, "conf")
	must(h.t, os.MkdirAll(conf, 0o755))
	for _, unit := range units {
		must(h.t, os.WriteFile(filepath.Join(conf, unit), []byte(unit+" of "+name), 0o644))
	}
	health := `{"check":{"type":"tcp","address":"` + name + `:1"},"interval":1,"start_deadline":5,"minimum_healthy":1}`
	must(h.t, os.WriteFile(filepath.Join(conf, "health.json"), []byte(health), 0o644))
	plan, _ := json.Marshal(h.plan(name, units...))
	must(h.t, os.WriteFile(filepath.Join(conf, "activation.json"), plan, 0o644))
	return name
}

func (h *host) plan(name string, units ...string) Plan {
	plan := Plan{Service: "hello", Home: h.home, Release: name, Units: units, MainUnit: "hello.service", KeepReleases: 3}
	for _, unit := range units {
		if strings.HasSuffix(unit, ".socket") {
			plan.SocketUnit = unit
		}
	}
	return plan
}

func (h *host) activation(name, runID string) *Activation {
	plan, err := loadPlan(configFile(h.home, name, "activation.json"))
	must(h.t, err)
	plan.RunID = runID
	must(h.t, plan.resolve())
	a := newActivation(h.paths, plan)
	a.systemd, a.clock, a.probe = h.systemd, h.clock, h.probe
	return a
}

func (h *host) activate(name, runID string) *Record {
	h.t.Helper()
	record, err := h.activation(name, runID).Run(context.Background())
	must(h.t, err)
	return record
}

// onDisk describes everything that a run may change, in one text.
func (h *host) onDisk() string {
	text := "current -> " + currentRelease(h.home) + "; serves " + h.systemd.serves
	files, _ := filepath.Glob(filepath.Join(h.paths.Units, "*.*"))
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // a folder of links
		}
		status := h.systemd.status[filepath.Base(file)]
		text += fmt.Sprintf("; %s (%s %s, loaded %q)", data, status.UnitFileState, status.ActiveState, h.systemd.loaded[filepath.Base(file)])
	}
	return strings.ReplaceAll(text, " (disabled inactive, loaded \"\")", "")
}

func (h *host) expect(record *Record, state, runsNow string) {
	h.t.Helper()
	if record.State != state || deref(record.RunsNow) != runsNow || h.systemd.serves != runsNow && runsNow != "" {
		h.t.Fatalf("expected %s with %q, got %s with %q (%s), served by %q",
			state, runsNow, record.State, deref(record.RunsNow), deref(record.Reason), h.systemd.serves)
	}
	if left, _ := filepath.Glob(filepath.Join(h.paths.Units, "*recover*")); left != nil {
		h.t.Errorf("left: %v", left)
	}
}

func TestAFailedReleaseIsTakenBackExactly(t *testing.T) {
	h := newHost(t)
	h.expect(h.activate(h.release("v1", "hello.service", "hello-extra.timer"), "r1"), stateConfirmed, "v1")
	must(t, os.WriteFile(filepath.Join(h.paths.Units, "hello.service"), []byte("edited by hand"), 0o600))
	h.systemd.reload()
	before := h.onDisk()
	record := h.activate(h.release("bad2", "hello.service", "hello.socket"), "r2")
	h.expect(record, stateReverted, "v1")
	if after := h.onDisk(); after != before {
		t.Errorf("before: %s\nafter:  %s", before, after)
	}
	if record.Units["hello-extra.timer"] != "removed" || record.Units["hello.socket"] != "created" || record.Units["hello.service"] != "changed" {
		t.Errorf("%v", record.Units)
	}
	var bad Bad
	must(t, readJSON(filepath.Join(h.home, "releases/bad2/BAD"), &bad))
	if bad.RunID != "r2" || bad.Cause != "deadline" || len(record.Journal) != 1 {
		t.Errorf("%+v %v", bad, record.Journal)
	}
}

func TestAFirstReleaseThatFailsIsStoppedAndRemoved(t *testing.T) {
	h := newHost(t)
	record := h.activate(h.release("bad1", "hello.service"), "r1")
	h.expect(record, stateFailed, "")
	if h.systemd.status["hello.service"].ActiveState != "inactive" || h.systemd.loaded["hello.service"] != "" {
		t.Errorf("%+v", h.systemd.status)
	}
	if !strings.Contains(deref(record.Reason), "no earlier release") {
		t.Error(deref(record.Reason))
	}
}

func TestAUnitThatWasThereBeforeTheFirstReleaseComesBack(t *testing.T) {
	h := newHost(t)
	must(t, os.WriteFile(filepath.Join(h.paths.Units, "hello.service"), []byte("by hand"), 0o644))
	h.systemd.reload()
	must(t, h.systemd.Control(context.Background(), 0, "start", "hello.service"))
	h.systemd.serves = ""
	h.expect(h.activate(h.release("bad1", "hello.service"), "r1"), stateReverted, "")
	if h.systemd.loaded["hello.service"] != "by hand" || h.systemd.status["hello.service"].ActiveState != "active" {
		t.Error(h.onDisk())
	}
}

func TestNothingIsTouchedWhenSystemdRefusesAtOnce(t *testing.T) {
	h := newHost(t)
	h.activate(h.release("v1", "hello.service"), "r1")
	h.systemd.refuse = "daemon-reload"
	record := h.activate(h.release("v2", "hello.service"), "r2")
	if record.State != stateReverted || currentRelease(h.home) != "v1" || !strings.Contains(deref(record.Reason), "restored, but:") {
		t.Errorf("%s %s %s", record.State, deref(record.Reason), h.onDisk())
	}
	h.systemd.refuse = ""
	h.expect(h.activate("v2", "r3"), stateConfirmed, "v2")
}

// killAt runs an activation that is killed before its n-th call of systemd; false: it made fewer calls.
func (h *host) killAt(n int, name, runID string) (wasKilled bool) {
	h.systemd.calls, h.systemd.killAt = 0, n
	defer func() {
		h.systemd.killAt = 0
		if recover() != nil {
			wasKilled = true
		}
	}()
	h.activate(name, runID)
	return false
}

func TestAnAgentKilledAnywhereEndsWellWhenRunAgain(t *testing.T) {
	for _, release := range []string{"v2", "bad2"} {
		for n := 1; ; n++ {
			h := newHost(t)
			h.activate(h.release("v1", "hello.service", "hello-extra.timer"), "r1")
			before := h.onDisk()
			h.release(release, "hello.service", "hello.socket")
			if !h.killAt(n, release, "r2") {
				if n < 8 {
					t.Fatalf("only %d places to be killed at", n)
				}
				break
			}
			record := h.activate(release, "r2")
			if deref(record.Previous) != "v1" {
				t.Fatalf("%s killed at %d: previous is %q", release, n, deref(record.Previous))
			}
			if release == "v2" {
				h.expect(record, stateConfirmed, "v2")
				continue
			}
			h.expect(record, stateReverted, "v1")
			if after := h.onDisk(); after != before {
				t.Fatalf("killed at %d\nbefore: %s\nafter:  %s", n, before, after)
			}
		}
	}
}

func TestAnAgentKilledAnywhereIsTakenBackAtBoot(t *testing.T) {
	for n := 2; ; n++ {
		h := newHost(t)
		h.activate(h.release("v1", "hello.service"), "r1")
		before := h.onDisk()
		h.release("v2", "hello.service", "hello.socket")
		if !h.killAt(n, "v2", "r2") {
			break
		}
		a := newActivation(h.paths, Plan{Service: "hello"})
		template := h.activation("v2", "r2")
		a.systemd, a.clock, a.probe = h.systemd, h.clock, template.probe
		record, err := recoverRun(context.Background(), a)
		must(t, err)
		if record.Stage == stageFinish {
			h.expect(record, stateConfirmed, "v2") // it had been found healthy
			continue
		}
		h.expect(record, stateReverted, "v1")
		if after := h.onDisk(); after != before || deref(record.Cause) != "interrupted" {
			t.Fatalf("killed at %d (%s)\nbefore: %s\nafter:  %s", n, deref(record.Cause), before, after)
		}
	}
}

func TestAnotherRunAfterAKilledOneGoesBackToWhatRanBeforeBoth(t *testing.T) {
	h := newHost(t)
	h.activate(h.release("v1", "hello.service", "hello-extra.timer"), "r1")
	before := h.onDisk()
	h.release("v2", "hello.service", "hello.socket")
	if !h.killAt(9, "v2", "r2") || currentRelease(h.home) != "v2" {
		t.Fatalf("expected to be killed after the switch: %s", h.onDisk())
	}
	h.expect(h.activate(h.release("bad3", "hello.service", "hello-more.path"), "r3"), stateReverted, "v1")
	if after := h.onDisk(); after != before {
		t.Errorf("before: %s\nafter:  %s", before, after)
	}
}

func TestAnAgentThatIsKilledAgainAndAgainGoesBack(t *testing.T) {
	h := newHost(t)
	h.activate(h.release("v1", "hello.service"), "r1")
	h.release("v2", "hello.service")
	for i := 0; i < maxAttempts; i++ {
		if !h.killAt(6, "v2", "r2") {
			t.Fatal("expected to be killed")
		}
	}
	record := h.activate("v2", "r2")
	h.expect(record, stateReverted, "v1")
	if deref(record.Cause) != "interrupted" {
		t.Error(deref(record.Reason))
	}
}

func TestAHostThatGoesDownLeavesTheOldReleaseOnDiskAndTheRestToTheNextBoot(t *testing.T) {
	h := newHost(t)
	h.activate(h.release("v1", "hello.service"), "r1")
	ctx, cancel := context.WithCancel(context.Background())
	a := h.activation(h.release("v2", "hello.service"), "r2")
	a.probe = func(Health) Probe {
		return func(context.Context) (string, error) {
			h.systemd.stopped = true
			cancel()
			return "", errors.New("stopped")
		}
	}
	record, err := a.Run(ctx)
	must(t, err)
	if record.State != stateIntended || currentRelease(h.home) != "v1" || record.exitCode() != exitInterrupted {
		t.Errorf("%s %s", record.State, h.onDisk())
	}
	if _, err := os.Stat(filepath.Join(h.paths.Units, "multi-user.target.wants", recoveryName("hello"))); err != nil {
		t.Error(err)
	}
}

func TestASecondAgentIsRefused(t *testing.T) {
	h := newHost(t)
	h.activate(h.release("v1", "hello.service"), "r1")
	lock, err := takeLock(h.paths, "hello", startLockTimeout)
	must(t, err)
	defer lock.Close()
	if record, err := h.activation("v1", "r2").Run(context.Background()); record != nil || err == nil {
		t.Error(record, err)
	}
}

func TestARunIdOfAnotherReleaseIsRefused(t *testing.T) {
	h := newHost(t)
	h.activate(h.release("v1", "hello.service"), "r1")
	h.release("v2", "hello.service")
	if record, err := h.activation("v2", "r1").Run(context.Background()); record != nil || err == nil {
		t.Error(record, err)
	}
}
