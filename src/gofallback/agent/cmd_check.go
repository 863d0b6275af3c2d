package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// CheckResult is the output of `check -json` and the state that `check -log` stores.
type CheckResult struct {
	Service string  `json:"service"`
	Release string  `json:"release"`
	Healthy bool    `json:"healthy"`
	Reason  string  `json:"reason"`
	Seconds float64 `json:"seconds"`
	At      string  `json:"at"`
}

func checkCommand(args []string, paths Paths, out io.Writer) (int, error) {
	flags := flag.NewFlagSet("check", flag.ContinueOnError)
	config := flags.String("config", "", "health.json")
	asJSON := flags.Bool("json", false, "print JSON")
	log := flags.Bool("log", false, "write failures and changes to journald")
	if err := flags.Parse(args); err != nil {
		return exitRefused, err
	}
	health, err := loadHealth(*config)
	if err != nil {
		return exitRefused, err
	}
	result := runCheck(context.Background(), health)
	if *log {
		if err := logCheck(paths, result); err != nil {
			fmt.Fprintln(os.Stderr, "gofallback-agent check: journald:", err)
		}
	}
	if *asJSON {
		err = json.NewEncoder(out).Encode(result)
	} else if !*log {
		_, err = fmt.Fprintf(out, "%s: %s\n", healthWord(result.Healthy), result.Reason)
	}
	if !result.Healthy {
		return exitUnhealthy, err
	}
	return exitOK, err
}

func runCheck(ctx context.Context, health Health) CheckResult {
	start := time.Now()
	detail, err := health.probe()(ctx)
	result := CheckResult{
		Service: health.Service, Release: health.Release, Healthy: err == nil, Reason: detail,
		Seconds: since(start, time.Now()), At: stamp(start),
	}
	if err != nil {
		result.Reason = err.Error()
	}
	return result
}

// logCheck logs every failure and every change to journald. A service that stays healthy is not logged.
func logCheck(paths Paths, result CheckResult) error {
	path := filepath.Join(paths.Run, "health-"+result.Service+".json")
	var before CheckResult
	known := readJSON(path, &before) == nil && before.Release == result.Release
	if data, err := json.Marshal(result); err == nil {
		// An error is ignored: without the file the next run only logs one line too many.
		_ = os.MkdirAll(paths.Run, 0o755)
		_ = writeFile(path, append(data, '\n'), 0o644)
	}
	if result.Healthy && known && before.Healthy {
		return nil
	}
	priority := "6"
	if !result.Healthy {
		priority = "3"
	}
	return sendToJournald(journalSocket, map[string]string{
		"MESSAGE":            fmt.Sprintf("%s %s: %s", result.Service, healthWord(result.Healthy), result.Reason),
		"PRIORITY":           priority,
		"SYSLOG_IDENTIFIER":  "gofallback",
		"GOFALLBACK_SERVICE": result.Service,
		"GOFALLBACK_RELEASE": result.Release,
		"GOFALLBACK_HEALTH":  healthCode(result.Healthy),
	})
}

func healthWord(healthy bool) string {
	if healthy {
		return "healthy"
	}
	return "unhealthy"
}

func healthCode(healthy bool) string {
	if healthy {
		return "ok"
	}
	return "bad"
}
