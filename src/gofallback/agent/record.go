package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// States of a run.
const (
	stateIntended    = "intended"    // the target will switch, or is switching
	stateProvisional = "provisional" // switched and healthy; the target reverts it unless it is confirmed in time
	stateConfirmed   = "confirmed"
	stateReverted    = "reverted"
	stateFailed      = "failed"
)

// legacyStates maps the states of agents that had no confirmation to today's.
var legacyStates = map[string]string{"running": stateIntended, "activated": stateConfirmed}

// Stages of a run, in order; the last two revert it.
const (
	stagePrepare = "prepare"
	stageSwitch  = "switch"
	stageRestart = "restart"
	stageGate    = "gate"
	stageConfirm = "confirm" // only with a window: awaits the confirmation
	stageFinish  = "finish"
	stageRestore = "restore"
	stageVerify  = "verify"
)

// Stage is one entry of a record's timeline.
type Stage struct {
	Stage   string  `json:"stage"`
	At      string  `json:"at"`
	Elapsed float64 `json:"elapsed"`
	Detail  string  `json:"detail,omitempty"`
}

// Record is outcome.json: the state of a run, and what is needed to revert it. docs/agent.md explains each key.
type Record struct {
	Schema     int                `json:"schema"`
	Service    string             `json:"service"`
	Home       string             `json:"home"`
	RunID      string             `json:"run_id"`
	StartedBy  string             `json:"started_by"`
	State      string             `json:"state"`
	Stage      string             `json:"stage"`
	Stages     []Stage            `json:"stages,omitempty"`
	Release    string             `json:"release"`
	Previous   *string            `json:"previous"`
	RunsNow    *string            `json:"runs_now"`
	Healthy    *bool              `json:"healthy"`
	Cause      *string            `json:"cause"`
	Reason     *string            `json:"reason"`
	Journal    []string           `json:"journal,omitempty"`
	Checks     Checks             `json:"checks"`
	Timings    map[string]float64 `json:"timings"`
	Units      map[string]string  `json:"units,omitempty"`
	Pruned     []string           `json:"pruned,omitempty"`
	Programs   map[string]string  `json:"programs,omitempty"` // SHA-256 of each file in bin/ at the start of the run
	PID        int                `json:"pid"`
	PIDStart   uint64             `json:"pid_start"`
	BootID     string             `json:"boot_id"`
	Attempt    int                `json:"attempt"`
	Started    string             `json:"started"`
	Updated    string             `json:"updated"`
	Finished   *string            `json:"finished"`
	Why        string             `json:"why,omitempty"`         // reason of the whole run, given by the controller
	Fence      int64              `json:"fence,omitempty"`       // number of the lease that the run was started under
	KeepFailed bool               `json:"keep_failed,omitempty"` // a release that fails its gate stays live
	Confirm    *Confirm           `json:"confirm"`               // null: no confirmation is required
	Decided    *Decided           `json:"decided,omitempty"`     // who confirmed or reverted the release
	Superseded *Record            `json:"superseded,omitempty"`  // unfinished run that this run took over from
	Plan       *Plan              `json:"plan,omitempty"`
	Undo       *Undo              `json:"undo,omitempty"`
}

// Confirm is the window in which a release has to be confirmed. Only the uptimes count; the timestamps are for people.
type Confirm struct {
	Window      Seconds `json:"window"`
	Since       string  `json:"since,omitempty"`
	Deadline    string  `json:"deadline,omitempty"` // without renewals of the lease
	SinceUptime Seconds `json:"since_uptime"`
	BootID      string  `json:"boot_id,omitempty"` // boot in which SinceUptime was read
	Boots       int     `json:"boots,omitempty"`   // number of boots since the release became provisional
}

// Decided names who confirmed or reverted a release, if that was not the activation itself.
type Decided struct {
	By    string `json:"by"`
	Fence int64  `json:"fence,omitempty"`
	Head  string `json:"head,omitempty"` // hash of the last line of the controller's journal
}

// final is true once the run has its outcome, which is never changed again.
func (r *Record) final() bool { return r.State != stateIntended && r.State != stateProvisional }

// awaitsConfirmation is true while the release is live and only its confirmation is missing.
func (r *Record) awaitsConfirmation() bool {
	return r.State == stateProvisional && r.Stage == stageConfirm
}

// sameRun compares two ids up to the second hyphen: a continuation of a run has the run's id, a hyphen and a suffix.
func sameRun(one, other string) bool { return runFamily(one) == runFamily(other) }

func runFamily(runID string) string {
	parts := strings.SplitN(runID, "-", 3)
	return strings.Join(parts[:min(2, len(parts))], "-")
}

func (r *Record) exitCode() int {
	switch r.State {
	case stateConfirmed:
		return exitOK
	case stateReverted:
		return exitReverted
	case stateFailed:
		return exitFailed
	}
	if r.awaitsConfirmation() {
		return exitOK
	}
	return exitInterrupted
}

func (r *Record) startedAt() time.Time {
	at, _ := time.Parse(time.RFC3339Nano, r.Started) // written by this agent
	return at
}

// loadRecord returns nil if there never was a run.
func loadRecord(paths Paths, service string) (*Record, error) {
	for _, path := range []string{paths.spilled(service), paths.record(service)} {
		var record Record
		err := readJSON(path, &record)
		if err == nil {
			err = record.normalize(path, service)
		}
		if err == nil {
			return &record, nil
		}
		if !errors.Is(err, fs.ErrNotExist) && path != paths.spilled(service) {
			return nil, fmt.Errorf("%w; see what runs on this host, move the file away, and activate a release again", err)
		}
	}
	return nil, nil
}

// normalize converts a record of an older agent to today's form, and rejects a file that no agent has written.
func (r *Record) normalize(path, service string) error {
	r.State = currentState(r.State)
	switch r.State {
	case stateIntended, stateProvisional, stateConfirmed, stateReverted, stateFailed:
	default:
		return fmt.Errorf("%s: expected the record of a run, got state %q", path, r.State)
	}
	if r.Service != service {
		return fmt.Errorf("%s: expected a record of %s, got one of %q", path, service, r.Service)
	}
	if r.Timings == nil {
		r.Timings = map[string]float64{}
	}
	if r.State == stateProvisional && r.Confirm == nil {
		r.Confirm = &Confirm{}
	}
	return nil
}

func currentState(state string) string {
	if renamed, legacy := legacyStates[state]; legacy {
		return renamed
	}
	return state
}

// save writes the record to the disk.
func (r *Record) save(paths Paths) error {
	data, err := r.encode()
	if err == nil {
		err = writeFile(paths.record(r.Service), data, 0o600) // private: it quotes the service's log
	}
	if err == nil {
		err = ignoreMissing(os.Remove(paths.spilled(r.Service)))
	}
	return err
}

// saveOrSpill saves the record during a revert, which a full disk must not stop. Without room on the disk the record
// stays in memory (/run) until a later agent can write it. After a reboot the older record on the disk leads to the same
// outcome.
func (r *Record) saveOrSpill(paths Paths) error {
	err := r.save(paths)
	if err == nil {
		return nil
	}
	data, encodeErr := r.encode()
	return errors.Join(err, encodeErr, os.MkdirAll(paths.Run, 0o755), writeFile(paths.spilled(r.Service), data, 0o600))
}

func (r *Record) encode() ([]byte, error) {
	data, err := json.MarshalIndent(r, "", " ")
	return append(data, '\n'), err
}

func readLastKnownGood(path string) string {
	data, _ := os.ReadFile(path) // absent before the first confirmed release
	return strings.TrimSpace(string(data))
}

// bootID changes with every boot. A process id identifies a process only within one boot.
func (p Paths) bootID() string {
	data, _ := os.ReadFile(p.Boot)
	return strings.TrimSpace(string(data))
}

// processStart is the start time of a process, which distinguishes two processes that had the same id: field 22 of
// /proc/<pid>/stat, proc(5). 0: there is no such process.
func processStart(pid int) uint64 {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0
	}
	// The name in parentheses may itself contain spaces and parentheses.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return 0
	}
	start, _ := strconv.ParseUint(fields[19], 10, 64)
	return start
}

// writerAlive is true while the process that writes this record runs.
func (r *Record) writerAlive(paths Paths) bool {
	return r.BootID == paths.bootID() && r.PID != 0 && processStart(r.PID) == r.PIDStart && r.PIDStart != 0
}
