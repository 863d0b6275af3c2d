package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
)

// The files that a revert needs are staged before the switch, in the folders where they will be installed. The revert then
// only renames them, which works on a disk that has filled up since.

const stagedPrefix = ".gofallback-spare-"

func stagedPath(path string) string {
	return filepath.Join(filepath.Dir(path), stagedPrefix+filepath.Base(path))
}

// stageFallback writes the previous unit files and link beside those that the switch changes.
func (a *Activation) stageFallback(want, other Layout) error {
	for name, content := range other.Files {
		if content == nil || bytes.Equal(content, want.Files[name]) {
			continue
		}
		if err := writeFile(stagedPath(filepath.Join(a.paths.Units, name)), content, 0o644); err != nil {
			return err
		}
	}
	if other.Release == "" || other.Release == want.Release {
		return nil
	}
	return moveLink(stagedPath(currentLink(a.plan.Home)), releaseLink(other.Release))
}

// useStagedFile replaces a file that cannot be written by its staged copy; false: no staged copy has that content.
func useStagedFile(path string, content []byte) bool {
	data, err := os.ReadFile(stagedPath(path))
	return err == nil && bytes.Equal(data, content) && os.Rename(stagedPath(path), path) == nil
}

func useStagedLink(link, target string) bool {
	found, err := os.Readlink(stagedPath(link))
	return err == nil && found == target && os.Rename(stagedPath(link), link) == nil
}

func (a *Activation) removeStaged() error {
	err := ignoreMissing(os.Remove(stagedPath(currentLink(a.plan.Home))))
	if a.record.Undo == nil {
		return err
	}
	for name := range a.record.Undo.Units {
		err = errors.Join(err, ignoreMissing(os.Remove(stagedPath(filepath.Join(a.paths.Units, name)))))
	}
	return err
}
