package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// conclude tells the outcome to whoever listens.
func conclude(record *Record, err error, out io.Writer) (int, error) {
	if record == nil {
		return exitRefused, err
	}
	line, _ := json.Marshal(record.summary())
	fmt.Fprintf(out, "%s\n", line)
	return record.exitCode(), err
}

func pointer[T any](value T) *T { return &value }

// optional makes "" null in JSON.
func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func deref(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

// logOutcome tells journald what the host's journal says.
func logOutcome(record *Record, line Line) {
	fields := map[string]string{
		"MESSAGE":  strings.TrimSpace(fmt.Sprintf("%s %s: %s %s", line.Service, line.Event, line.Release, line.Reason)),
		"PRIORITY": "5", "SYSLOG_IDENTIFIER": "gofallback", "GOFALLBACK_SERVICE": line.Service,
		"GOFALLBACK_RELEASE": line.Release, "GOFALLBACK_RUN": line.Run, "GOFALLBACK_OUTCOME": line.Event,
		"GOFALLBACK_STARTED_BY": record.StartedBy, "GOFALLBACK_BY": line.By, "GOFALLBACK_PREVIOUS": deref(line.Previous),
		"GOFALLBACK_REASON": line.Reason, "GOFALLBACK_CAUSE": line.Cause, "GOFALLBACK_WHY": line.Why,
		"GOFALLBACK_FENCE": strconv.FormatInt(line.Fence, 10),
	}
	if line.Event == stateReverted || line.Event == stateFailed {
		fields["PRIORITY"] = "3"
	}
	if err := sendJournal(journalSocket, fields); err != nil {
		fmt.Fprintln(os.Stderr, "gofallback-agent: journald:", err)
	}
}

// evidenceLines is what an operator reads first.
const evidenceLines = 50

// evidence is what the failed attempt said.
func (a *Activation) evidence(ctx context.Context, until time.Time) []string {
	from := a.record.startedAt()
	if at, found := a.record.Timings["switched"]; found {
		from = from.Add(time.Duration(at * float64(time.Second)))
	}
	return a.systemd.Journal(ctx, a.plan.MainUnit, from, until, evidenceLines)
}
