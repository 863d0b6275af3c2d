package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
)

// Undo is the state of a target before a run changed it. It is part of the record, so that an interrupted run is
// reverted to the state it started from, and not to the state it left half changed.
type Undo struct {
	Release    string               `json:"release"` // "": current did not exist
	Main       string               `json:"main_unit"`
	Socket     string               `json:"socket_unit"`
	Timer      string               `json:"timer_unit"`
	MainActive bool                 `json:"main_active"`
	Units      map[string]SavedUnit `json:"units"`
}

// SavedUnit is one unit file before the run.
type SavedUnit struct {
	Exists  bool   `json:"exists"`
	SHA256  string `json:"sha256,omitempty"`
	Saved   string `json:"saved,omitempty"` // below saved/
	Enabled bool   `json:"enabled"`
}

// capture reads the state that a run starts from and copies the unit files to a folder beside the record.
func (a *Activation) capture(ctx context.Context, undo *Undo) (*Undo, error) {
	if undo == nil {
		undo = &Undo{Main: a.plan.MainUnit, Socket: a.plan.SocketUnit, Timer: a.plan.TimerUnit, Units: map[string]SavedUnit{}}
		undo.Release = currentRelease(a.plan.Home)
	}
	names := append([]string{}, a.plan.Units...)
	if earlier, err := loadPlan(configFile(a.plan.Home, undo.Release, "activation.json")); err == nil && undo.Release != "" {
		undo.Main, undo.Socket, undo.Timer = earlier.MainUnit, earlier.SocketUnit, earlier.TimerUnit
		for _, name := range earlier.Units {
			if unitPattern.MatchString(name) {
				names = append(names, name)
			}
		}
	}
	status, err := a.systemd.Show(ctx, append(unique(names), undo.Main)...)
	if err != nil {
		return nil, err
	}
	if _, known := undo.Units[undo.Main]; !known {
		undo.MainActive = status[undo.Main].busy()
	}
	for _, name := range unique(names) {
		if _, known := undo.Units[name]; known {
			continue // the state that an interrupted run started from counts, not the state it left
		}
		saved, err := a.saveUnit(name)
		if err != nil {
			return nil, err
		}
		saved.Enabled = status[name].enabled()
		undo.Units[name] = saved
	}
	return undo, nil
}

func (a *Activation) saveUnit(name string) (SavedUnit, error) {
	path := filepath.Join(a.paths.Units, name)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return SavedUnit{}, nil
	}
	if err != nil {
		return SavedUnit{}, err
	}
	if !info.Mode().IsRegular() {
		return SavedUnit{}, fmt.Errorf("%s is not a file (masked?); systemctl unmask %s", path, name)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return SavedUnit{}, err
	}
	folder := a.paths.saved(a.plan.Service, a.plan.RunID)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return SavedUnit{}, err
	}
	if err := writeFile(filepath.Join(folder, name), data, 0o644); err != nil {
		return SavedUnit{}, err
	}
	return SavedUnit{Exists: true, SHA256: digest(data), Saved: filepath.Join(a.plan.RunID, name)}, nil
}

// removeOldCopies removes copies of unit files that no record refers to any more.
func (a *Activation) removeOldCopies() {
	if a.record.Undo == nil {
		return
	}
	used := map[string]bool{a.record.RunID: true}
	for _, unit := range a.record.Undo.Units {
		used[filepath.Dir(unit.Saved)] = true
	}
	folder := filepath.Dir(a.paths.saved(a.plan.Service, a.record.RunID))
	entries, _ := os.ReadDir(folder)
	for _, entry := range entries {
		if !used[entry.Name()] {
			_ = os.RemoveAll(filepath.Join(folder, entry.Name()))
		}
	}
}

// Layout is a state that the target can be brought to: the new release's, or the previous one.
type Layout struct {
	Release string            // "": no link
	Files   map[string][]byte // content of unit files by name; nil: the file has to be absent
	Enabled map[string]bool   // nil: every unit that can be enabled
	Main    string
	Socket  string
	Timer   string
	Start   bool // false: stop the service
}

// newLayout is the layout of the new release.
func (a *Activation) newLayout() (Layout, error) {
	want := Layout{Release: a.plan.Release, Files: map[string][]byte{}, Main: a.plan.MainUnit,
		Socket: a.plan.SocketUnit, Timer: a.plan.TimerUnit, Start: true}
	for name := range a.record.Undo.Units {
		want.Files[name] = nil
	}
	for _, name := range a.plan.Units {
		data, err := os.ReadFile(configFile(a.plan.Home, a.plan.Release, name))
		if err != nil {
			return want, err
		}
		want.Files[name] = data
	}
	return want, nil
}

// previousLayout is the layout to revert to.
func (a *Activation) previousLayout() (Layout, error) {
	undo := a.record.Undo
	want := Layout{Release: undo.Release, Files: map[string][]byte{}, Enabled: map[string]bool{}, Main: undo.Main,
		Socket: undo.Socket, Timer: undo.Timer, Start: undo.Release != "" || undo.MainActive}
	for name, unit := range undo.Units {
		want.Files[name] = nil
		want.Enabled[name] = unit.Enabled
		if !unit.Exists {
			continue
		}
		data, err := a.savedUnit(name, unit)
		if err := a.tolerate(err); err != nil {
			return want, err
		}
		if want.Files[name] = data; data == nil {
			delete(want.Files, name) // reverting without a copy: the installed file stays
		}
	}
	for _, unit := range []*string{&want.Socket, &want.Timer} {
		if want.Files[*unit] == nil {
			*unit = "" // the previous layout had none
		}
	}
	return want, nil
}

// savedUnit reads a unit file as it was before the run. If the saved copy is missing or damaged, the same bytes are
// looked for elsewhere. If a revert finds them nowhere, the release's own file is returned together with the error: it
// is better than none.
func (a *Activation) savedUnit(name string, unit SavedUnit) ([]byte, error) {
	installed, own := filepath.Join(a.paths.Units, name), configFile(a.plan.Home, a.record.Undo.Release, name)
	saved := filepath.Join(a.paths.service(a.plan.Service), "saved", unit.Saved)
	for _, path := range []string{saved, installed, stagedPath(installed), own} {
		if data, err := os.ReadFile(path); err == nil && digest(data) == unit.SHA256 {
			return data, nil
		}
	}
	var data []byte
	if a.reverting && a.record.Undo.Release != "" {
		data, _ = os.ReadFile(own)
	}
	return data, fmt.Errorf("the copy of %s as it was is gone or was changed: %s", name, saved)
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func unique(names []string) []string {
	seen := map[string]bool{"": true}
	var kept []string
	for _, name := range names {
		if !seen[name] {
			seen[name] = true
			kept = append(kept, name)
		}
	}
	sort.Strings(kept)
	return kept
}
