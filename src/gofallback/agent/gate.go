package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Clock is time as the gate sees it.
type Clock interface {
	Now() time.Time
	// Uptime counts from boot, whatever happens to the clock on the wall.
	Uptime() time.Duration
	// Sleep returns early with the context's error when that ends.
	Sleep(ctx context.Context, span time.Duration) error
}

type realClock struct{}

func (realClock) Now() time.Time { return time.Now() }

// Uptime is the first number of /proc/uptime, proc(5); shell scripts on the target read the same.
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

// Failure is why a release is not taken.
type Failure struct {
	// crashed, unhealthy, deadline, not-started, interrupted, error; unconfirmed, asked, fenced, superseded
	Cause  string
	Reason string
}

func (f *Failure) Error() string { return f.Reason }

func fail(cause, format string, words ...any) *Failure {
	return &Failure{Cause: cause, Reason: fmt.Sprintf(format, words...)}
}

// Checks counts the gate's checks.
type Checks struct {
	Passed    int    `json:"passed"`
	Failed    int    `json:"failed"`
	LastError string `json:"last_error"`
}

// lookEvery is how soon a crash is seen, whatever the interval between two checks.
const lookEvery = 250 * time.Millisecond

// Gate decides whether a service that was just started is well.
//
// It is, once it has answered every check for MinimumHealthy, counted from the first good answer, before StartDeadline is over.
// Until the first good answer a failed check only means that it is still starting; after it one failed check is the end:
// a release that was well and no longer is goes back now and not at the deadline. So does one whose process ends.
type Gate struct {
	Unit    string
	Health  Health
	Probe   Probe
	Look    func(ctx context.Context) (UnitStatus, error)
	Clock   Clock
	OnFirst func() // at the first good answer
	Checks  Checks

	start, first, nextCheck time.Time
}

// Wait blocks until the decision; nil is healthy.
func (g *Gate) Wait(ctx context.Context) *Failure {
	g.start = g.Clock.Now()
	g.nextCheck = g.start
	for {
		if ctx.Err() != nil {
			return fail("interrupted", "stopped while waiting for the service to be healthy")
		}
		status, err := g.Look(ctx)
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
			return g.late(status)
		}
		wait := min(lookEvery, g.nextCheck.Sub(now), g.deadline().Sub(now))
		_ = g.Clock.Sleep(ctx, max(wait, time.Millisecond))
	}
}

func (g *Gate) deadline() time.Time { return g.start.Add(g.Health.StartDeadline.Duration()) }

// check runs the probe when it is due; done means that the decision is made.
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
		return g.turned(ctx, began, err), true
	case !running: // Something answers, but systemd does not say that it is this service.
		g.Checks.LastError = fmt.Sprintf("%s is not active yet although the check passes (%s)", g.Unit, detail)
		return nil, false
	}
	g.Checks.Passed++
	if g.first.IsZero() {
		g.first = began
		if g.OnFirst != nil {
			g.OnFirst()
		}
	}
	well := g.first.Add(g.Health.MinimumHealthy.Duration())
	if began.Before(well) {
		if well.Before(g.nextCheck) {
			g.nextCheck = well // the last look is at the end of the window, not an interval after it
		}
		return nil, false
	}
	// The answer may be another program's: a service that cannot have the port ends a moment later.
	if status, err := g.Look(ctx); err == nil {
		if how := status.crash(g.Unit); how != "" {
			return fail("crashed", "%s", how), true
		}
	}
	return nil, true
}

// turned explains a failed check after a good one.
func (g *Gate) turned(ctx context.Context, at time.Time, err error) *Failure {
	if status, lookErr := g.Look(ctx); lookErr == nil {
		if how := status.crash(g.Unit); how != "" {
			return fail("crashed", "%s, %.1f s after it had answered", how, since(g.first, at))
		}
	}
	return fail("unhealthy", "healthy for %.1f s only, then: %v", since(g.first, at), err)
}

func (g *Gate) late(status UnitStatus) *Failure {
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
