package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

func folder(name string, age int, bad bool) Folder {
	return Folder{Name: name, Bad: bad, Used: epoch.Add(-time.Duration(age) * time.Hour)}
}

func TestPruneKeepsTheNewestAndWhatMatters(t *testing.T) {
	folders := []Folder{folder("a", 5, false), folder("b", 4, false), folder("c", 3, false), folder("d", 2, true), folder("e", 1, false)}
	for name, c := range map[string]struct {
		keep      int
		protected []string
		remove    []string
	}{
		"nothing to do":                {5, nil, nil},
		"bad ones go before good ones": {4, nil, []string{"d"}},
		"the oldest go":                {2, nil, []string{"a", "b", "d"}},
		"protected ones stay besides":  {2, []string{"a", "d"}, []string{"b"}},
		"a bad one that is not wanted": {2, []string{"a", "b"}, []string{"d"}},
	} {
		t.Run(name, func(t *testing.T) {
			protected := map[string]bool{"": true}
			for _, release := range c.protected {
				protected[release] = true
			}
			if remove := selectPrune(folders, c.keep, protected); !reflect.DeepEqual(remove, c.remove) {
				t.Errorf("expected %v, got %v", c.remove, remove)
			}
		})
	}
}

func TestHalfRemovedReleasesAreNoReleasesAndGoNextTime(t *testing.T) {
	home := t.TempDir()
	for _, name := range []string{"v1", "v2", removing + "v0"} {
		must(t, os.MkdirAll(filepath.Join(home, "releases", name, "bin"), 0o755))
	}
	must(t, removeReleases(home, []string{"v1", "gone already"}))
	entries, err := os.ReadDir(filepath.Join(home, "releases"))
	must(t, err)
	if len(entries) != 1 || entries[0].Name() != "v2" {
		t.Errorf("left: %v", entries)
	}
}

func TestReleaseIsTheFolderAFileLiesInThroughLinksToo(t *testing.T) {
	home := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(home, "releases/v1-abc/conf"), 0o755))
	must(t, os.WriteFile(filepath.Join(home, "releases/v1-abc/conf/health.json"), nil, 0o644))
	must(t, setCurrent(home, "v1-abc"))
	for _, path := range []string{"current/conf/health.json", "releases/v1-abc/conf/health.json"} {
		if release := releaseOf(filepath.Join(home, path)); release != "v1-abc" {
			t.Errorf("%s: %q", path, release)
		}
	}
	if release := releaseOf("/etc/hostname"); release != "" {
		t.Errorf("elsewhere: %q", release)
	}
}

func TestRecordKeepsEverythingAndHistoryHasEachRunOnce(t *testing.T) {
	paths := Paths{State: t.TempDir(), Run: t.TempDir()}
	must(t, os.Mkdir(paths.service("hello"), 0o755))
	record := &Record{Schema: 1, Service: "hello", RunID: "r1", State: stateReverted, Release: "v2", Previous: pointer("v1"), Reason: pointer("line\nline"),
		Timings: map[string]float64{"failed": 1.25}, Stages: []Stage{{Stage: "gate", Elapsed: 1}}, Started: stamp(epoch),
		Journal: []string{"ü"}, Undo: &Undo{Release: "v1", Units: map[string]SavedUnit{"a.service": {Exists: true}}}}
	must(t, record.save(paths))
	again, err := loadRecord(paths, "hello")
	must(t, err)
	if !reflect.DeepEqual(record, again) {
		t.Errorf("%+v\n%+v", record, again)
	}
	if none, err := loadRecord(paths, "other"); none != nil || err != nil {
		t.Error(none, err)
	}
	history := paths.history("hello")
	must(t, os.WriteFile(history, []byte(`{"run_id":"torn by a pow`), 0o644))
	for i := 0; i < 4; i++ {
		record.RunID = fmt.Sprintf("r%d", i/2)
		must(t, appendHistory(history, record))
	}
	lines, err := readHistory(history)
	must(t, err)
	if len(lines) != 2 || lines[0].RunID != "r0" || lines[1].RunID != "r1" || lines[1].Undo != nil {
		t.Errorf("%+v", lines)
	}
}

func TestSpansAsSystemctlPrintsThem(t *testing.T) {
	for text, span := range map[string]time.Duration{
		"1min 30s": 90 * time.Second, "5s": 5 * time.Second, "1min 2s 500ms": 62500 * time.Millisecond, "infinity": 10 * time.Minute, "": 0,
		"1h 30min": 90 * time.Minute, "20us": 20 * time.Microsecond, "1y 2month": 10 * time.Minute, "999999999999min": 10 * time.Minute,
	} {
		if got := parseSpan(text); got != span {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestJournalFieldsWithSeveralLinesHaveTheirLengthInFront(t *testing.T) {
	got := string(encodeJournald(map[string]string{"MESSAGE": "a\nb", "A": "1"}))
	if got != "A=1\nMESSAGE\n\x03\x00\x00\x00\x00\x00\x00\x00a\nb\n" {
		t.Errorf("%q", got)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
