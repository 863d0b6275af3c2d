package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Clock is the time source; tests replace it.
type Clock interface {
	Now() time.Time
	// Uptime counts from boot, whatever happens to the wall clock.
	Uptime() time.Duration
	// Sleep returns early, with the context's error, when the context ends.
	Sleep(ctx context.Context, span time.Duration) error
}

type realClock struct{}

func (realClock) Now() time.Time { return time.Now() }

// Uptime is the first number of /proc/uptime, proc(5), which the shell scripts on the target read too.
func (realClock) Uptime() time.Duration {
	data, _ := os.ReadFile("/proc/uptime")
	word, _, _ := strings.Cut(string(data), " ")
	seconds, _ := strconv.ParseFloat(word, 64)
	return Seconds(seconds).Duration()
}

func (realClock) Sleep(ctx context.Context, span time.Duration) error {
	timer := time.NewTimer(span)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return ctx.Err()
	}
}

// Failure is why a run failed.
type Failure struct {
	// crashed, unhealthy, deadline, not-started, interrupted, error; unconfirmed, asked, fenced, superseded
	Cause  string
	Reason string
}

func (f *Failure) Error() string { return f.Reason }

func fail(cause, format string, words ...any) *Failure {
	return &Failure{Cause: cause, Reason: fmt.Sprintf(format, words...)}
}

func asFailure(ctx context.Context, err error) *Failure {
	var failure *Failure
	switch {
	case ctx.Err() != nil:
		return fail("interrupted", "stopped from outside")
	case errors.As(err, &failure):
		return failure
	}
	return fail("error", "%v", err)
}

// Checks counts the gate's checks.
type Checks struct {
	Passed    int    `json:"passed"`
	Failed    int    `json:"failed"`
	LastError string `json:"last_error"`
}

// statusInterval bounds the time until a crash is seen, whatever the interval between two checks.
const statusInterval = 250 * time.Millisecond

// Gate decides whether a service that was just started is healthy.
//
// The service is healthy once it has passed every check for MinimumHealthy, counted from the first passed check, before
// StartDeadline is over. Before the first passed check, a failed check only means that the service is still starting.
// After it, a single failed check fails the gate: such a release is reverted now and not at the deadline. A process that
// ends fails the gate at any time.
type Gate struct {
	Unit    string
	Health  Health
	Probe   Probe
	Status  func(ctx context.Context) (UnitStatus, error)
	Clock   Clock
	OnFirst func() // called at the first passed check
	Checks  Checks

	start, first, nextCheck time.Time
}

// Wait blocks until the gate has decided; nil means healthy.
func (g *Gate) Wait(ctx context.Context) *Failure {
	g.start = g.Clock.Now()
	g.nextCheck = g.start
	for {
		if ctx.Err() != nil {
			return fail("interrupted", "stopped while waiting for the service to be healthy")
		}
		status, err := g.Status(ctx)
		if err == nil {
			if how := status.crash(g.Unit); how != "" {
				return fail("crashed", "%s", how)
			}
		}
		if failure, done := g.check(ctx, err == nil && status.running()); done {
			return failure
		}
		now := g.Clock.Now()
		if end := g.deadline(); !now.Before(end) {
			return g.deadlineFailure(status)
		}
		wait := min(statusInterval, g.nextCheck.Sub(now), g.deadline().Sub(now))
		_ = g.Clock.Sleep(ctx, max(wait, time.Millisecond))
	}
}

func (g *Gate) deadline() time.Time { return g.start.Add(g.Health.StartDeadline.Duration()) }

// check runs the probe when it is due; done means that the gate has decided.
func (g *Gate) check(ctx context.Context, running bool) (failure *Failure, done bool) {
	began := g.Clock.Now()
	if began.Before(g.nextCheck) {
		return nil, false
	}
	g.nextCheck = began.Add(g.Health.Interval.Duration())
	detail, err := g.Probe(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, false
	case err != nil:
		g.Checks.Failed++
		g.Checks.LastError = err.Error()
		if g.first.IsZero() {
			return nil, false
		}
		return g.unhealthyAgain(ctx, began, err), true
	case !running: // a process answers, but systemd does not report this service as active
		g.Checks.LastError = fmt.Sprintf("%s is not active yet although the check passes (%s)", g.Unit, detail)
		return nil, false
	}
	return g.passed(ctx, began)
}

// passed counts a passed check; done means that the gate has decided.
func (g *Gate) passed(ctx context.Context, began time.Time) (failure *Failure, done bool) {
	g.Checks.Passed++
	if g.first.IsZero() {
		g.first = began
		if g.OnFirst != nil {
			g.OnFirst()
		}
	}
	healthyAt := g.first.Add(g.Health.MinimumHealthy.Duration())
	if began.Before(healthyAt) {
		if healthyAt.Before(g.nextCheck) {
			g.nextCheck = healthyAt // the last check is at the end of the period, not an interval after it
		}
		return nil, false
	}
	// Another program may have answered: a service whose port is taken ends a moment later.
	if status, err := g.Status(ctx); err == nil {
		if how := status.crash(g.Unit); how != "" {
			return fail("crashed", "%s", how), true
		}
	}
	return nil, true
}

// unhealthyAgain explains a failed check after a passed one.
func (g *Gate) unhealthyAgain(ctx context.Context, at time.Time, err error) *Failure {
	if status, lookErr := g.Status(ctx); lookErr == nil {
		if how := status.crash(g.Unit); how != "" {
			return fail("crashed", "%s, %.1f s after it had answered", how, since(g.first, at))
		}
	}
	return fail("unhealthy", "healthy for %.1f s only, then: %v", since(g.first, at), err)
}

func (g *Gate) deadlineFailure(status UnitStatus) *Failure {
	if !g.first.IsZero() {
		return fail("deadline", "healthy for %.1f s at the start deadline of %g s, expected %g s",
			since(g.first, g.Clock.Now()), g.Health.StartDeadline, g.Health.MinimumHealthy)
	}
	last := g.Checks.LastError
	if last == "" {
		last = fmt.Sprintf("%s is %s (%s)", g.Unit, status.ActiveState, status.SubState)
	}
	return fail("deadline", "not healthy within %g s: %s", g.Health.StartDeadline, last)
}
