package main

import (
	"bytes"
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
	stateIntended    = "intended"    // it is written down that the target will switch
	stateProvisional = "provisional" // switched, healthy, goes back by itself unless it is confirmed
	stateConfirmed   = "confirmed"
	stateReverted    = "reverted"
	stateFailed      = "failed"
)

// oldStates are the words of agents before there was a confirmation.
var oldStates = map[string]string{"running": stateIntended, "activated": stateConfirmed}

// Stages of a run, in order; the last two are the way back.
const (
	stagePrepare = "prepare"
	stageSwitch  = "switch"
	stageRestart = "restart"
	stageGate    = "gate"
	stageConfirm = "confirm" // only with a window: waits to be confirmed
	stageFinish  = "finish"
	stageRestore = "restore"
	stageVerify  = "verify"
)

// Stage is one entry of a record's time line.
type Stage struct {
	Stage   string  `json:"stage"`
	At      string  `json:"at"`
	Elapsed float64 `json:"elapsed"`
	Detail  string  `json:"detail,omitempty"`
}

// Record is outcome.json: what a run did, does, and how to take it back. docs/agent.md explains each key.
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
	Programs   map[string]string  `json:"programs,omitempty"` // SHA-256 of what is in bin/, when it began
	PID        int                `json:"pid"`
	PIDStart   uint64             `json:"pid_start"`
	BootID     string             `json:"boot_id"`
	Attempt    int                `json:"attempt"`
	Started    string             `json:"started"`
	Updated    string             `json:"updated"`
	Finished   *string            `json:"finished"`
	Why        string             `json:"why,omitempty"`         // of the whole run, as its controller said
	Fence      int64              `json:"fence,omitempty"`       // number of the lease it was started under
	KeepFailed bool               `json:"keep_failed,omitempty"` // a failed gate takes nothing back
	Confirm    *Confirm           `json:"confirm"`               // null: no confirmation is asked for
	Decided    *Decided           `json:"decided,omitempty"`     // who ended the wait for it
	Superseded *Record            `json:"superseded,omitempty"`  // unfinished run that this one took over from
	Plan       *Plan              `json:"plan,omitempty"`
	Undo       *Undo              `json:"undo,omitempty"`
}

// Confirm is the window within which a release has to be confirmed. Only the uptimes count; the stamps are for people.
type Confirm struct {
	Window      Seconds `json:"window"`
	Since       string  `json:"since,omitempty"`
	Deadline    string  `json:"deadline,omitempty"` // without renewals of the lease
	SinceUptime Seconds `json:"since_uptime"`
	BootID      string  `json:"boot_id,omitempty"` // the boot that SinceUptime is of
	Boots       int     `json:"boots,omitempty"`   // how often the host was started while it waited
}

// Decided is who confirmed a release or had it taken back, when it was not the activation itself.
type Decided struct {
	By    string `json:"by"`
	Fence int64  `json:"fence,omitempty"`
	Head  string `json:"head,omitempty"` // of the controller's journal
}

// final is true once the run's outcome stands.
func (r *Record) final() bool { return r.State != stateIntended && r.State != stateProvisional }

// waits is true while the release is live and only its confirmation is missing.
func (r *Record) waits() bool { return r.State == stateProvisional && r.Stage == stageConfirm }

// sameRun: the continuations of a run have its id and a further hyphen, so the ids are equal up to the second one.
func sameRun(one, other string) bool { return familyOf(one) == familyOf(other) }

func familyOf(runID string) string {
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
	if r.waits() {
		return exitOK
	}
	return exitInterrupted
}

func (r *Record) startedAt() time.Time {
	at, _ := time.Parse(time.RFC3339Nano, r.Started) // we wrote it
	return at
}

// loadRecord returns nil when there never was a run.
func loadRecord(paths Paths, service string) (*Record, error) {
	for _, path := range []string{paths.spilled(service), paths.record(service)} {
		var record Record
		err := readJSON(path, &record)
		if err == nil {
			err = record.sound(path, service)
		}
		if err == nil {
			return &record, nil
		}
		if !errors.Is(err, fs.ErrNotExist) && path != paths.spilled(service) {
			return nil, fmt.Errorf("%w; see what runs on this host, move the file away, and activate a release anew", err)
		}
	}
	return nil, nil
}

// sound puts a record that was read into today's form, and refuses what no agent has written.
func (r *Record) sound(path, service string) error {
	r.State = inNewWords(r.State)
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

func inNewWords(state string) string {
	if word, old := oldStates[state]; old {
		return word
	}
	return state
}

// save writes the record to the disk.
func (r *Record) save(paths Paths) error {
	data, err := r.encode()
	if err == nil {
		err = writeFile(paths.record(r.Service), data, 0o600) // it quotes the journal
	}
	if err == nil {
		err = ignoreMissing(os.Remove(paths.spilled(r.Service)))
	}
	return err
}

// saveSomewhere is save for the way back, which a full disk must not stop: the record then lies in memory until a later
// agent finds room for it, or until the next boot, where the older record on the disk leads to the same end.
func (r *Record) saveSomewhere(paths Paths) error {
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

// summary is the record's line in history.jsonl.
func (r Record) summary() Record {
	r.Stages, r.Journal, r.Units, r.Undo, r.Plan, r.Superseded = nil, nil, nil, nil, nil, nil
	return r
}

// appendHistory adds the run's line once, even if a killed agent comes here again.
func appendHistory(path string, record *Record) error {
	lines, err := readHistory(path)
	if err != nil {
		return err
	}
	for _, line := range lines {
		if line.RunID == record.RunID {
			return nil
		}
	}
	data, err := json.Marshal(record.summary())
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if endsInMidLine(file) {
		data = append([]byte{'\n'}, data...)
	}
	_, err = file.Write(append(data, '\n'))
	return errors.Join(err, file.Sync(), file.Close())
}

func endsInMidLine(file *os.File) bool {
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return false
	}
	last := make([]byte, 1)
	_, err = file.ReadAt(last, info.Size()-1)
	return err == nil && last[0] != '\n'
}

// readHistory leaves out lines that a power cut tore.
func readHistory(path string) ([]Record, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, ignoreMissing(err)
	}
	var lines []Record
	for _, text := range bytes.Split(data, []byte("\n")) {
		var line Record
		if json.Unmarshal(text, &line) == nil && line.RunID != "" {
			line.State = inNewWords(line.State)
			lines = append(lines, line)
		}
	}
	return lines, nil
}

func readLastKnownGood(path string) string {
	data, _ := os.ReadFile(path) // absent before the first success
	return strings.TrimSpace(string(data))
}

// bootID changes with every boot; a process id means something only together with it.
func (p Paths) bootID() string {
	data, _ := os.ReadFile(p.Boot)
	return strings.TrimSpace(string(data))
}

// startOf tells apart two processes that had the same id: field 22 of /proc/<pid>/stat, proc(5). 0: there is none.
func startOf(pid int) uint64 {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0
	}
	// The name in brackets may hold blanks and brackets itself.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return 0
	}
	start, _ := strconv.ParseUint(fields[19], 10, 64)
	return start
}

// alive is true while the process that writes this record runs.
func (r *Record) alive(paths Paths) bool {
	return r.BootID == paths.bootID() && r.PID != 0 && startOf(r.PID) == r.PIDStart && r.PIDStart != 0
}
