package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// fakeClock advances only in Sleep.
type fakeClock struct {
	now time.Time
	up  time.Duration
}

func (c *fakeClock) Now() time.Time { return c.now }

func (c *fakeClock) Uptime() time.Duration { return c.up }

func (c *fakeClock) Sleep(ctx context.Context, span time.Duration) error {
	c.now = c.now.Add(span)
	c.up += span
	return ctx.Err()
}

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// gateOver builds a gate over a service that is healthy(age) and in a state(age).
func gateOver(healthy func(age time.Duration) bool, state func(age time.Duration) UnitStatus) (*Gate, *fakeClock) {
	clock := &fakeClock{now: epoch}
	age := func() time.Duration { return clock.now.Sub(epoch) }
	return &Gate{
		Unit:   "hello.service",
		Health: Health{Interval: 1, Timeout: 2, StartDeadline: 20, MinimumHealthy: 3},
		Clock:  clock,
		Probe: func(context.Context) (string, error) {
			if healthy(age()) {
				return "well", nil
			}
			return "", errors.New("not well")
		},
		Status: func(context.Context) (UnitStatus, error) { return state(age()), nil },
	}, clock
}

func runs(time.Duration) UnitStatus {
	return UnitStatus{ActiveState: "active", SubState: "running", MainPID: 1}
}

func between(from, to time.Duration) func(time.Duration) bool {
	return func(age time.Duration) bool { return age >= from && age < to }
}

const forever = time.Hour

func TestGateOpensAfterTheMinimumHealthyTime(t *testing.T) {
	gate, clock := gateOver(between(2*time.Second, forever), runs)
	first := false
	gate.OnFirst = func() { first = true }
	if failure := gate.Wait(context.Background()); failure != nil {
		t.Fatal(failure)
	}
	if took := clock.now.Sub(epoch); took != 5*time.Second || !first {
		t.Errorf("expected 2 s to the first answer and 3 s of health, took %v", took)
	}
}

func TestGateLooksAtTheEndOfTheWindowEvenIfTheIntervalIsLonger(t *testing.T) {
	gate, clock := gateOver(between(0, forever), runs)
	gate.Health.Interval = 10
	if failure := gate.Wait(context.Background()); failure != nil {
		t.Fatal(failure)
	}
	if took := clock.now.Sub(epoch); took != 3*time.Second || gate.Checks.Passed != 2 {
		t.Errorf("took %v and %d checks", took, gate.Checks.Passed)
	}
}

func TestGateFailures(t *testing.T) {
	crashesAt := func(at time.Duration) func(time.Duration) UnitStatus {
		return func(age time.Duration) UnitStatus {
			if age < at {
				return runs(age)
			}
			return UnitStatus{ActiveState: "activating", SubState: "auto-restart", Result: "exit-code", ExecMainCode: 1, ExecMainStatus: 3}
		}
	}
	restarted := func(time.Duration) UnitStatus {
		return UnitStatus{ActiveState: "active", SubState: "running", MainPID: 7, NRestarts: 1}
	}
	for name, c := range map[string]struct {
		healthy func(time.Duration) bool
		state   func(time.Duration) UnitStatus
		cause   string
		says    string
		within  time.Duration
	}{
		"never healthy":            {between(forever, forever), runs, "deadline", "not healthy within 20 s: not well", 20 * time.Second},
		"healthy too late":         {between(18*time.Second, forever), runs, "deadline", "healthy for 2.0 s at the start deadline", 20 * time.Second},
		"turns unhealthy":          {between(0, 2*time.Second), runs, "unhealthy", "healthy for 2.0 s only, then: not well", 2 * time.Second},
		"one failed check":         {func(age time.Duration) bool { return age != time.Second }, runs, "unhealthy", "healthy for 1.0 s only", time.Second},
		"exits at once":            {between(forever, forever), crashesAt(0), "crashed", "exited with status 3", 0},
		"exits while healthy":      {between(0, forever), crashesAt(2 * time.Second), "crashed", "exited with status 3", 2 * time.Second},
		"was started again":        {between(0, forever), restarted, "crashed", "started it again", 0},
		"crash shows in the check": {between(0, 2*time.Second), crashesAt(2 * time.Second), "crashed", "status 3", 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			gate, clock := gateOver(c.healthy, c.state)
			failure := gate.Wait(context.Background())
			if failure == nil || failure.Cause != c.cause || !strings.Contains(failure.Reason, c.says) {
				t.Fatalf("expected %s: %s, got %+v", c.cause, c.says, failure)
			}
			if took := clock.now.Sub(epoch); took > c.within {
				t.Errorf("known after %v, expected %v", took, c.within)
			}
		})
	}
}

func TestGateCountsNoAnswerBeforeSystemdSaysThatTheServiceIsActive(t *testing.T) {
	gate, clock := gateOver(between(0, forever), func(age time.Duration) UnitStatus {
		if age < 4*time.Second {
			return UnitStatus{ActiveState: "activating", SubState: "start"}
		}
		return runs(age)
	})
	if failure := gate.Wait(context.Background()); failure != nil {
		t.Fatal(failure)
	}
	if took := clock.now.Sub(epoch); took != 7*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestGateEndsWhenTheAgentIsStopped(t *testing.T) {
	gate, _ := gateOver(between(0, forever), runs)
	ctx, cancel := context.WithCancel(context.Background())
	gate.OnFirst = cancel
	if failure := gate.Wait(ctx); failure == nil || failure.Cause != "interrupted" {
		t.Fatal(failure)
	}
}
