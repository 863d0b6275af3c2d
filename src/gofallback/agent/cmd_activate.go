package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os/signal"
	"syscall"
)

func activateCommand(args []string, paths Paths, out io.Writer) (int, error) {
	a, err := parseActivation(args, paths)
	if a == nil {
		return exitRefused, err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	var record *Record
	if err == nil {
		record, err = a.Run(ctx)
	}
	if record == nil && runPattern.MatchString(a.plan.RunID) && namePattern.MatchString(a.plan.Service) {
		writeRefusal(paths, a.plan.Service, a.plan.RunID, err)
	}
	return printOutcome(record, err, out)
}

// parseActivation returns an activation together with an error if the plan at least names service and run: the refusal
// can then be written where `follow` finds it.
func parseActivation(args []string, paths Paths) (*Activation, error) {
	flags := flag.NewFlagSet("activate", flag.ContinueOnError)
	path := flags.String("plan", "", "activation.json")
	runID := flags.String("run-id", "", "id of the run")
	by := flags.String("started-by", "", "who started the run")
	release := flags.String("release", "", "folder in releases/; default: the plan's own")
	fence := flags.Int64("fence", 0, "number of the run's lease; 0: not checked")
	window := flags.Float64("window", 0, "seconds within which the release has to be confirmed; 0: no confirmation required")
	why := flags.String("reason", "", "reason of the run")
	keepFailed := flags.Bool("keep-failed", false, "keep a release that fails its gate")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if *window < 0 || *window > 86400 {
		return nil, fmt.Errorf("-window: expected seconds between 0 and 86400, got %g", *window)
	}
	plan, err := loadPlan(*path)
	if err != nil {
		return nil, err
	}
	for _, given := range []struct{ flag, field *string }{{runID, &plan.RunID}, {by, &plan.StartedBy}, {release, &plan.Release}} {
		if *given.flag != "" {
			*given.field = *given.flag
		}
	}
	if err = plan.resolve(); err != nil {
		err = fmt.Errorf("%s: %w", *path, err)
	} else {
		err = checkFolder(plan.Home, plan.Release)
	}
	a := newActivation(paths, plan)
	a.fence, a.window, a.why, a.keepFailed = *fence, Seconds(*window), firstLine([]byte(*why)), *keepFailed
	return a, err
}
