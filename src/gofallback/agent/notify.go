package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// notifyJournald sends a line of the host's journal to journald.
func notifyJournald(record *Record, line JournalLine) {
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
	if err := sendToJournald(journalSocket, fields); err != nil {
		fmt.Fprintln(os.Stderr, "gofallback-agent: journald:", err)
	}
}

// excerptLines is how many of the last log lines of a failed release the record keeps.
const excerptLines = 50

// journalExcerpt returns the log lines of a failed release, from the switch on.
func (a *Activation) journalExcerpt(ctx context.Context, until time.Time) []string {
	from := a.record.startedAt()
	if at, found := a.record.Timings["switched"]; found {
		from = from.Add(time.Duration(at * float64(time.Second)))
	}
	return a.systemd.Journal(ctx, a.plan.MainUnit, from, until, excerptLines)
}
