package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"path/filepath"
)

// State is the output of `state`.
type State struct {
	Service       string               `json:"service"`
	Home          string               `json:"home"`
	Current       *string              `json:"current"`
	LastKnownGood *string              `json:"last_known_good"`
	Releases      []ReleaseState       `json:"releases"`
	Units         map[string]UnitState `json:"units"`
	Main          *MainState           `json:"main"`
	Record        *Record              `json:"record"`
	Running       bool                 `json:"running"` // an activation is in progress
}

// ReleaseState is one folder in releases/.
type ReleaseState struct {
	Name     string            `json:"name"`
	Manifest *string           `json:"manifest_sha256"`
	Binaries map[string]string `json:"binaries,omitempty"` // name to SHA-256; of the current release, with -all of every one
	Bad      *Bad              `json:"bad"`
	LastUsed string            `json:"last_used"`
}

// UnitState is one installed unit file and its state in systemd.
type UnitState struct {
	SHA256   *string `json:"sha256"`
	Load     string  `json:"load"`
	Active   string  `json:"active"`
	Sub      string  `json:"sub"`
	File     string  `json:"file"` // enabled, disabled, static, ...
	Outdated bool    `json:"needs_daemon_reload"`
}

// MainState is the service's process.
type MainState struct {
	Unit     string `json:"unit"`
	Active   string `json:"active"`
	Since    string `json:"since"`
	PID      int    `json:"pid"`
	Restarts int    `json:"restarts"`
	Result   string `json:"result"`
}

func stateCommand(args []string, paths Paths, out io.Writer) (int, error) {
	flags := flag.NewFlagSet("state", flag.ContinueOnError)
	service := flags.String("service", "", "name of the service")
	home := flags.String("home", "", "its folder; default /opt/<service>")
	all := flags.Bool("all", false, "hash the binaries of every release")
	if err := flags.Parse(args); err != nil {
		return exitRefused, err
	}
	if !namePattern.MatchString(*service) {
		return exitRefused, fmt.Errorf("-service: expected a name, got %q", *service)
	}
	if *home == "" {
		*home = filepath.Join("/opt", *service)
	}
	state, err := readState(context.Background(), paths, Systemctl{}, *service, *home, *all)
	if err != nil {
		return exitRefused, err
	}
	return exitOK, json.NewEncoder(out).Encode(state)
}

func readState(ctx context.Context, paths Paths, systemd Systemd, service, home string, all bool) (*State, error) {
	record, err := loadRecord(paths, service)
	if err != nil {
		return nil, err
	}
	history, err := readHistory(paths.history(service))
	if err != nil {
		return nil, err
	}
	folders, err := listReleases(home, history)
	if err != nil {
		return nil, err
	}
	current := currentRelease(home)
	state := &State{Service: service, Home: home, Current: optional(current), Releases: []ReleaseState{},
		LastKnownGood: optional(readLastKnownGood(paths.lastKnownGood(service)))}
	for _, folder := range folders {
		state.Releases = append(state.Releases, releaseState(home, folder, all || folder.Name == current))
	}
	main, names := service+".service", []string{service + ".service"}
	if plan, err := loadPlan(configFile(home, current, "activation.json")); err == nil && current != "" {
		main, names = plan.MainUnit, append(names, plan.Units...)
	}
	if record != nil {
		state.Running = !record.final() && record.writerAlive(paths)
		for name := range record.Units {
			names = append(names, name)
		}
		record.Undo, record.Plan = nil, nil
		state.Record = record
	}
	return state, state.addUnits(ctx, paths, systemd, main, unique(names))
}

func (s *State) addUnits(ctx context.Context, paths Paths, systemd Systemd, main string, names []string) error {
	status, err := systemd.Show(ctx, names...)
	if err != nil {
		return err
	}
	s.Units = map[string]UnitState{}
	for _, name := range names {
		unit := status[name]
		s.Units[name] = UnitState{SHA256: optional(fileDigest(filepath.Join(paths.Units, name))), Load: unit.LoadState,
			Active: unit.ActiveState, Sub: unit.SubState, File: unit.UnitFileState, Outdated: unit.NeedReload}
	}
	unit := status[main]
	s.Main = &MainState{Unit: main, Active: unit.ActiveState, Since: unit.Since, PID: unit.MainPID,
		Restarts: unit.NRestarts, Result: unit.Result}
	return nil
}

func releaseState(home string, folder Folder, hash bool) ReleaseState {
	path := releaseFolder(home, folder.Name)
	state := ReleaseState{Name: folder.Name, Manifest: optional(fileDigest(filepath.Join(path, "manifest.json"))),
		LastUsed: stamp(folder.Used)}
	var bad Bad
	if folder.Bad {
		_ = readJSON(filepath.Join(path, badFile), &bad) // an empty BAD file marks the release too
		state.Bad = &bad
	}
	if hash {
		state.Binaries = programSums(path)
	}
	return state
}

// programSums maps the name of each file in a release's bin/ to its SHA-256.
func programSums(folder string) map[string]string {
	sums := map[string]string{}
	files, _ := filepath.Glob(filepath.Join(folder, "bin", "*"))
	for _, file := range files {
		sums[filepath.Base(file)] = fileDigest(file)
	}
	return sums
}

// fileDigest is "" for a file that cannot be read.
func fileDigest(path string) string {
	sum, _ := fileSum(path)
	return sum
}
