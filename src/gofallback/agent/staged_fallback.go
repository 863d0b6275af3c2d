package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
)

// What going back needs is laid ready before the switch, in the folders where it will be wanted: a rename then does, and
// needs no room on a disk that has become full since.

const sparePrefix = ".gofallback-spare-"

func spareOf(path string) string {
	return filepath.Join(filepath.Dir(path), sparePrefix+filepath.Base(path))
}

// layReady puts the earlier unit files and link beside those that will differ.
func (a *Activation) layReady(want, other Want) error {
	for name, content := range other.Files {
		if content == nil || bytes.Equal(content, want.Files[name]) {
			continue
		}
		if err := writeFile(spareOf(filepath.Join(a.paths.Units, name)), content, 0o644); err != nil {
			return err
		}
	}
	if other.Release == "" || other.Release == want.Release {
		return nil
	}
	return moveLink(spareOf(currentLink(a.plan.Home)), releaseLink(other.Release))
}

// useSpare is for when a file cannot be written; false: there is no spare with that content.
func useSpare(path string, content []byte) bool {
	data, err := os.ReadFile(spareOf(path))
	return err == nil && bytes.Equal(data, content) && os.Rename(spareOf(path), path) == nil
}

func useSpareLink(link, target string) bool {
	found, err := os.Readlink(spareOf(link))
	return err == nil && found == target && os.Rename(spareOf(link), link) == nil
}

func (a *Activation) removeSpares() error {
	err := ignoreMissing(os.Remove(spareOf(currentLink(a.plan.Home))))
	if a.record.Undo == nil {
		return err
	}
	for name := range a.record.Undo.Units {
		err = errors.Join(err, ignoreMissing(os.Remove(spareOf(filepath.Join(a.paths.Units, name)))))
	}
	return err
}
