package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
)

// summary is the record's line in history.jsonl: the record without its bulky parts.
func (r Record) summary() Record {
	r.Stages, r.Journal, r.Units, r.Undo, r.Plan, r.Superseded = nil, nil, nil, nil, nil, nil
	return r
}

// appendHistory adds the run's line once, even if an agent that was killed repeats this step.
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

// readHistory skips lines that a power cut left incomplete.
func readHistory(path string) ([]Record, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, ignoreMissing(err)
	}
	var lines []Record
	for _, text := range bytes.Split(data, []byte("\n")) {
		var line Record
		if json.Unmarshal(text, &line) == nil && line.RunID != "" {
			line.State = currentState(line.State)
			lines = append(lines, line)
		}
	}
	return lines, nil
}
