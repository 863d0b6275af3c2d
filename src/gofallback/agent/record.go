package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// States of a run.
const (
	stateRunning   = "intended"
	stateActivated = "confirmed"
	stateReverted  = "reverted"
	stateFailed    = "failed"
)

// Stages of a run, in order; the last two are the way back.
const (
	stagePrepare = "prepare"
	stageSwitch  = "switch"
	stageRestart = "restart"
	stageGate    = "gate"
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
	Schema    int                `json:"schema"`
	Service   string             `json:"service"`
	Home      string             `json:"home"`
	RunID     string             `json:"run_id"`
	StartedBy string             `json:"started_by"`
	State     string             `json:"state"`
	Stage     string             `json:"stage"`
	Stages    []Stage            `json:"stages,omitempty"`
	Release   string             `json:"release"`
	Previous  *string            `json:"previous"`
	RunsNow   *string            `json:"runs_now"`
	Healthy   *bool              `json:"healthy"`
	Cause     *string            `json:"cause"`
	Reason    *string            `json:"reason"`
	Journal   []string           `json:"journal,omitempty"`
	Checks    Checks             `json:"checks"`
	Timings   map[string]float64 `json:"timings"`
	Units     map[string]string  `json:"units,omitempty"`
	Pruned    []string           `json:"pruned,omitempty"`
	PID       int                `json:"pid"`
	PIDStart  uint64             `json:"pid_start"`
	BootID    string             `json:"boot_id"`
	Attempt   int                `json:"attempt"`
	Started   string             `json:"started"`
	Updated   string             `json:"updated"`
	Finished  *string            `json:"finished"`
	Plan      *Plan              `json:"plan,omitempty"`
	Undo      *Undo              `json:"undo,omitempty"`
}

// final is true once the run's outcome stands.
func (r *Record) final() bool { return r.State != stateRunning }

func (r *Record) exitCode() int {
	switch r.State {
	case stateActivated:
		return exitOK
	case stateReverted:
		return exitReverted
	case stateRunning:
		return exitInterrupted
	}
	return exitFailed
}

func (r *Record) startedAt() time.Time {
	at, _ := time.Parse(time.RFC3339Nano, r.Started) // we wrote it
	return at
}

// loadRecord returns nil when there never was a run.
func loadRecord(path string) (*Record, error) {
	var record Record
	if err := readJSON(path, &record); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	return &record, nil
}

func (r *Record) save(path string) error {
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return writeFile(path, append(data, '\n'), 0o600) // it quotes the journal
}

// summary is the record's line in history.jsonl.
func (r Record) summary() Record {
	r.Stages, r.Journal, r.Units, r.Undo, r.Plan = nil, nil, nil, nil, nil
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
	file, err := os.Open(path)
	if err != nil {
		return nil, ignoreMissing(err)
	}
	defer file.Close()
	var lines []Record
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		var line Record
		if json.Unmarshal(scanner.Bytes(), &line) == nil && line.RunID != "" {
			lines = append(lines, line)
		}
	}
	return lines, scanner.Err()
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
