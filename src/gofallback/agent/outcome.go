package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

// conclude tells the outcome to whoever listens.
func conclude(record *Record, err error, out io.Writer) (int, error) {
	if record == nil {
		return exitRefused, err
	}
	logOutcome(record)
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

func logOutcome(record *Record) {
	fields := map[string]string{
		"MESSAGE":  fmt.Sprintf("%s %s: %s %s", record.Service, record.State, record.Release, deref(record.Reason)),
		"PRIORITY": "5", "SYSLOG_IDENTIFIER": "gofallback", "GOFALLBACK_SERVICE": record.Service,
		"GOFALLBACK_RELEASE": record.Release, "GOFALLBACK_RUN": record.RunID, "GOFALLBACK_OUTCOME": record.State,
		"GOFALLBACK_STARTED_BY": record.StartedBy, "GOFALLBACK_PREVIOUS": deref(record.Previous),
	}
	if record.State != stateActivated {
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
