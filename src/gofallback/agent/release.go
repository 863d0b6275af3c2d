package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// Bad is the content of releases/<release>/BAD.
type Bad struct {
	Reason string `json:"reason"`
	Cause  string `json:"cause"`
	RunID  string `json:"run_id"`
	At     string `json:"at"`
}

const badFile = "BAD"

func markBad(home, release string, bad Bad) error {
	data, err := json.Marshal(bad)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(releaseFolder(home, release), badFile), append(data, '\n'), 0o644)
}

func clearBad(home, release string) error {
	return ignoreMissing(os.Remove(filepath.Join(releaseFolder(home, release), badFile)))
}

func currentLink(home string) string { return filepath.Join(home, "current") }

// currentRelease is the folder `current` points to, "" if there is no link.
func currentRelease(home string) string {
	target, err := os.Readlink(currentLink(home))
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}

// setCurrent replaces the link atomically; "" removes it.
func setCurrent(home, release string) error {
	link := currentLink(home)
	if release == "" {
		if err := ignoreMissing(os.Remove(link)); err != nil {
			return err
		}
		return syncFolder(home)
	}
	target := releaseLink(release)
	if now, err := os.Readlink(link); err == nil && now == target {
		return nil
	}
	err := moveLink(link, target)
	if err != nil && useStagedLink(link, target) {
		return syncFolder(home)
	}
	return err
}

// releaseLink is the target of the link `current`.
func releaseLink(release string) string { return filepath.Join("releases", release) }

// Folder is one release on the target, with what pruning needs.
type Folder struct {
	Name string
	Bad  bool
	Used time.Time // last activation; without one, the upload
}

// listReleases returns the release folders without those half removed.
func listReleases(home string, history []Record) ([]Folder, error) {
	entries, err := os.ReadDir(filepath.Join(home, "releases"))
	if err != nil {
		return nil, ignoreMissing(err)
	}
	used := map[string]time.Time{}
	for _, run := range history {
		used[run.Release] = run.startedAt()
	}
	var folders []Folder
	for _, entry := range entries {
		if !entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		folder := Folder{Name: entry.Name(), Used: used[entry.Name()]}
		if folder.Used.IsZero() {
			if info, err := entry.Info(); err == nil {
				folder.Used = info.ModTime()
			}
		}
		_, err := os.Stat(filepath.Join(releaseFolder(home, entry.Name()), badFile))
		folder.Bad = err == nil
		folders = append(folders, folder)
	}
	return folders, nil
}

// selectPrune names the releases to remove: those beyond the newest keep, bad releases before good ones. Protected
// releases stay whatever their age, and do not count.
func selectPrune(folders []Folder, keep int, protected map[string]bool) []string {
	var others []Folder
	for _, folder := range folders {
		if !protected[folder.Name] {
			others = append(others, folder)
		}
	}
	sort.SliceStable(others, func(i, j int) bool {
		a, b := others[i], others[j]
		if a.Bad != b.Bad {
			return b.Bad
		}
		if !a.Used.Equal(b.Used) {
			return a.Used.After(b.Used)
		}
		return a.Name > b.Name
	})
	var remove []string
	for i := keep; i < len(others); i++ {
		remove = append(remove, others[i].Name)
	}
	sort.Strings(remove)
	return remove
}

const removing = ".removing-"

// removeReleases renames each folder first, so that a half removed one is never taken for a release.
func removeReleases(home string, names []string) error {
	root := filepath.Join(home, "releases")
	var errs []error
	for _, name := range names {
		errs = append(errs, ignoreMissing(os.Rename(filepath.Join(root, name), filepath.Join(root, removing+name))))
	}
	left, err := filepath.Glob(filepath.Join(root, removing+"*"))
	errs = append(errs, err)
	for _, folder := range left {
		errs = append(errs, os.RemoveAll(folder))
	}
	return errors.Join(errs...)
}

// prune removes old releases, never the one that the run can revert to.
func (a *Activation) prune() error {
	history, err := readHistory(a.paths.history(a.plan.Service))
	if err != nil {
		return err
	}
	folders, err := listReleases(a.plan.Home, history)
	if err != nil {
		return err
	}
	protected := map[string]bool{a.plan.Release: true, currentRelease(a.plan.Home): true, a.record.Undo.Release: true,
		readLastKnownGood(a.paths.lastKnownGood(a.plan.Service)): true}
	a.record.Pruned = selectPrune(folders, a.plan.KeepReleases, protected)
	return removeReleases(a.plan.Home, a.record.Pruned)
}

// checkFolder refuses a release that cannot be switched to.
func checkFolder(home, release string) error {
	info, err := os.Stat(releaseFolder(home, release))
	if errors.Is(err, fs.ErrNotExist) || (err == nil && !info.IsDir()) {
		return fmt.Errorf("there is no release %s in %s/releases; upload it first", release, home)
	}
	if err != nil {
		return err
	}
	if info, err := os.Lstat(currentLink(home)); err == nil && info.Mode()&fs.ModeSymlink == 0 {
		return fmt.Errorf("%s is not a symbolic link; move it away", currentLink(home))
	}
	return nil
}
