package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// JournalLine is one line of the host's journal without its hash. The order of the fields is the order in the file.
type JournalLine struct {
	Prev     string  `json:"prev"`
	Seq      int64   `json:"seq"`
	At       string  `json:"at"`
	Run      string  `json:"run"`
	Event    string  `json:"event"`
	Host     string  `json:"host"`
	Service  string  `json:"service"`
	Release  string  `json:"release"`
	Previous *string `json:"previous"`
	Window   Seconds `json:"window,omitempty"`
	Reason   string  `json:"reason,omitempty"`
	Cause    string  `json:"cause,omitempty"`
	Fence    int64   `json:"fence,omitempty"`
	By       string  `json:"by,omitempty"`
	Why      string  `json:"why,omitempty"`
	Head     string  `json:"head,omitempty"`
	Torn     bool    `json:"torn,omitempty"` // a power cut left the line before incomplete; the chain continues from the last intact one
}

var (
	genesisHash = strings.Repeat("0", 64)
	hashSuffix  = regexp.MustCompile(`,"hash":"([0-9a-f]{64})"\}$`)
)

// appendLine adds a line to a chained journal once, even if an agent that was killed repeats this step. It returns whether
// it wrote.
func appendLine(path string, line JournalLine) (bool, error) {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return false, err
	}
	defer file.Close()
	data, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	last, torn, found := lastIntactLine(data, line.Run, line.Event)
	if found {
		return false, nil
	}
	line.Prev, line.Seq, line.Torn = last.Prev, last.Seq+1, torn
	text, err := withHash(line)
	if err != nil {
		return false, err
	}
	if len(data) > 0 && data[len(data)-1] != '\n' {
		text = append([]byte{'\n'}, text...)
	}
	_, err = file.Write(text)
	err = errors.Join(err, file.Sync())
	if len(data) == 0 {
		err = errors.Join(err, syncFolder(filepath.Dir(path)))
	}
	return err == nil, err
}

// withHash is the line with its hash: SHA-256 of the bytes before the hash, so that sha256sum can check it.
func withHash(line JournalLine) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(line); err != nil {
		return nil, err
	}
	head := bytes.TrimSuffix(bytes.TrimSpace(text.Bytes()), []byte("}"))
	return []byte(string(head) + `,"hash":"` + digest(head) + "\"}\n"), nil
}

// lastIntactLine finds the end of the chain (its hash as Prev) and whether an event of a run is in it already.
func lastIntactLine(data []byte, run, event string) (last JournalLine, torn, found bool) {
	last.Prev = genesisHash
	for _, text := range bytes.Split(data, []byte("\n")) {
		if len(text) == 0 {
			continue
		}
		line, hash := parseLine(text)
		if torn = hash == ""; torn {
			continue
		}
		last.Prev, last.Seq = hash, line.Seq
		found = found || (line.Run == run && line.Event == event)
	}
	return last, torn, found
}

// parseLine returns "" as the hash of an incomplete line. An edited line keeps its place in the chain: its wrong hash is
// reported by `gofallback journal verify`.
func parseLine(text []byte) (line JournalLine, hash string) {
	match := hashSuffix.FindSubmatchIndex(text)
	if match == nil || json.Unmarshal(text, &line) != nil {
		return line, ""
	}
	return line, string(text[match[2]:match[3]])
}

// logState writes the record's state to the host's journal and to journald, once per state of a run.
func (r *Record) logState(paths Paths, now time.Time) error {
	line := r.journalLine(now)
	wrote, err := appendLine(paths.journal(r.Service), line)
	if wrote {
		notifyJournald(r, line)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil // an operator removed the service's folder: there is no journal to keep
	}
	return err
}

func (r *Record) journalLine(now time.Time) JournalLine {
	host, _ := os.Hostname()
	line := JournalLine{At: stamp(now), Run: r.RunID, Event: r.State, Host: host, Service: r.Service, Release: r.Release,
		Previous: r.Previous, Reason: deref(r.Reason), Cause: deref(r.Cause), Fence: r.Fence, By: r.StartedBy, Why: r.Why}
	if r.Confirm != nil && !r.final() {
		line.Window = r.Confirm.Window
	}
	if r.Decided != nil && r.final() {
		line.Fence, line.By, line.Head = r.Decided.Fence, r.Decided.By, r.Decided.Head
	}
	return line
}
