package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func (h *host) events() (events []string) {
	data, _ := os.ReadFile(h.paths.journal("hello"))
	for _, text := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		line, hash := parseLine([]byte(text))
		if hash == "" {
			h.t.Errorf("incomplete: %q", text)
		}
		events = append(events, line.Run+" "+line.Event)
	}
	return events
}

func (h *host) expectEvents(events ...string) {
	h.t.Helper()
	if got := fmt.Sprint(h.events()); got != fmt.Sprint(events) {
		h.t.Errorf("expected %v, got %v", events, got)
	}
}

func TestAReleasedOrDamagedLeaseStillFences(t *testing.T) {
	h := newHost(t)
	must(t, os.MkdirAll(h.paths.service("hello"), 0o755))
	for content, says := range map[string]string{
		"9\n": "fenced: a later run took over and has ended (number 9, ours 7)", "9\t\t\t\t\n": "has ended (number 9, ours 7)",
		"7\t\t\t\t\n": "", "6\tr1\tme\tthen\t30\n": "", "\x00\x00": "holds no lease; make sure that no rollout runs",
	} {
		must(t, os.WriteFile(h.paths.lease("hello"), []byte(content), 0o644))
		err := checkFence(h.paths, "hello", 7)
		if (err == nil) != (says == "") || (err != nil && !strings.Contains(err.Error(), says)) {
			t.Errorf("%q: %v, expected %q", content, err, says)
		}
		if checkFence(h.paths, "hello", 0) != nil {
			t.Errorf("%q: a writer without a number is not checked", content)
		}
	}
}

func TestWhatAKilledAgentDidNotWriteIsWrittenByTheNext(t *testing.T) {
	h := newHost(t)
	h.activate(h.release("v1", "hello.service"), "r1")
	h.provisional("v2", "r2")
	must(t, os.Remove(h.paths.journal("hello")))
	must(t, os.Remove(h.paths.history("hello")))
	_, err := h.decide("revert", "r2", Decided{})
	must(t, err)
	must(t, os.Remove(h.paths.journal("hello")))
	must(t, os.Remove(h.paths.history("hello")))
	for i := 0; i < 2; i++ {
		_, err = h.agent().waitForDecision(context.Background(), nil)
		must(t, err)
	}
	h.expectEvents("r2 reverted")
	if history, _ := readHistory(h.paths.history("hello")); len(history) != 1 || history[0].State != stateReverted {
		t.Error(history)
	}
}

func TestARecordThatFindsNoRoomIsKeptInMemoryAndWrittenLater(t *testing.T) {
	h := newHost(t)
	h.activate(h.release("v1", "hello.service"), "r1")
	record := h.provisional("v2", "r2")
	// A folder in place of the record: not even root can write it.
	must(t, os.Rename(h.paths.record("hello"), h.paths.record("hello")+".kept"))
	must(t, os.MkdirAll(filepath.Join(h.paths.record("hello"), "x"), 0o755))
	record.State, record.Stage = stateReverted, stageVerify
	if err := record.saveOrSpill(h.paths); err == nil {
		t.Fatal("expected that it cannot be written")
	}
	found, err := loadRecord(h.paths, "hello")
	if err != nil || found.State != stateReverted {
		t.Fatal(found, err)
	}
	if _, err := h.agent().waitForDecision(context.Background(), nil); err == nil || !h.armed() {
		t.Error("it is retried as long as there is no room:", err)
	}
	must(t, os.RemoveAll(h.paths.record("hello")))
	_, err = h.agent().waitForDecision(context.Background(), nil)
	must(t, err)
	if _, err := os.Stat(h.paths.spilled("hello")); err == nil || h.armed() {
		t.Error("not reconciled")
	}
}

func TestTheChainHoldsAndATornLineIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.jsonl")
	for i := 0; i < 3; i++ {
		for again := 0; again < 2; again++ { // the second time it is there already
			_, err := appendLine(path, JournalLine{Run: fmt.Sprintf("r%d", i), Event: "intended", Reason: "<&>\n\"ü\"", Previous: pointer("v1")})
			must(t, err)
		}
		if i == 1 {
			data, _ := os.ReadFile(path)
			must(t, os.WriteFile(path, append(data, `{"prev":"torn by a power cu`...), 0o600))
		}
	}
	data, _ := os.ReadFile(path)
	prev, whole := genesisHash, 0
	for i, text := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		head, hash, found := strings.Cut(text, `,"hash":"`)
		if !found {
			if i != 2 {
				t.Errorf("line %d: %q", i, text)
			}
			continue
		}
		whole++
		var line JournalLine
		must(t, json.Unmarshal([]byte(text), &line))
		sum := sha256.Sum256([]byte(head))
		if hash != hex.EncodeToString(sum[:])+`"}` || line.Prev != prev || line.Seq != int64(whole) || line.Torn != (whole == 3) {
			t.Errorf("line %d: %s", i, text)
		}
		if !strings.HasPrefix(text, fmt.Sprintf(`{"prev":"%s","seq":%d,"at":"","run":"r%d","event":"intended","host":"`, prev, whole, whole-1)) {
			t.Error(text)
		}
		prev = strings.TrimSuffix(hash, `"}`)
	}
	if whole != 3 {
		t.Errorf("%d lines:\n%s", whole, data)
	}
}

func TestStatesOfOlderAgentsAreReadAsTodays(t *testing.T) {
	h := newHost(t)
	must(t, os.MkdirAll(h.paths.service("hello"), 0o755))
	must(t, os.WriteFile(h.paths.record("hello"), []byte(`{"service":"hello","run_id":"r1","state":"running","stage":"gate"}`), 0o600))
	must(t, os.WriteFile(h.paths.history("hello"), []byte(`{"run_id":"r0","state":"activated"}`+"\n"), 0o600))
	record, err := loadRecord(h.paths, "hello")
	must(t, err)
	history, err := readHistory(h.paths.history("hello"))
	must(t, err)
	if record.State != stateIntended || record.final() || history[0].State != stateConfirmed {
		t.Error(record.State, history)
	}
}

func TestStagedFilesAreUsedWhenNothingCanBeWritten(t *testing.T) {
	folder := t.TempDir()
	unit, link := filepath.Join(folder, "a.service"), filepath.Join(folder, "current")
	must(t, os.WriteFile(stagedPath(unit), []byte("old"), 0o644))
	must(t, os.Symlink("releases/v1", stagedPath(link)))
	if useStagedFile(unit, []byte("other")) || !useStagedFile(unit, []byte("old")) || useStagedLink(link, "releases/v2") || !useStagedLink(link, "releases/v1") {
		t.Error("a staged copy is used only for its own content")
	}
	if data, err := os.ReadFile(unit); err != nil || string(data) != "old" {
		t.Error(string(data), err)
	}
}
