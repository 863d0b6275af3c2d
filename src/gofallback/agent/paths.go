package main

import (
	"path/filepath"
)

// Paths are the folders and files on a target that the agent uses; tests use others.
type Paths struct {
	State string // records, one folder per service
	Units string // systemd's unit files
	Run   string // state that does not outlive a boot
	Boot  string // file that holds this boot's id
	Keys  string // public keys; if there are any, only programs that one of them signed are activated
}

func defaultPaths() Paths {
	return Paths{
		State: "/var/lib/gofallback",
		Units: "/etc/systemd/system",
		Run:   "/run/gofallback",
		Boot:  "/proc/sys/kernel/random/boot_id",
		Keys:  "/etc/gofallback/trusted-keys",
	}
}

func (p Paths) service(name string) string { return filepath.Join(p.State, name) }

func (p Paths) record(service string) string {
	return filepath.Join(p.service(service), "outcome.json")
}

// spilled is the record in memory (tmpfs) when the disk is full.
func (p Paths) spilled(service string) string {
	return filepath.Join(p.Run, service+".outcome.json")
}

// refusal holds one line: why the last refused run of this service was refused.
func (p Paths) refusal(service string) string {
	return filepath.Join(p.Run, service+".refused")
}

// lease and renewed are written by the controllers; the agent only reads them.
func (p Paths) lease(service string) string { return filepath.Join(p.service(service), "lease") }

func (p Paths) renewed(service string) string { return filepath.Join(p.Run, service+".renewed") }

// journal is this host's journal.
func (p Paths) journal(service string) string {
	return filepath.Join(p.service(service), "journal.jsonl")
}

func (p Paths) history(service string) string {
	return filepath.Join(p.service(service), "history.jsonl")
}

func (p Paths) lastKnownGood(service string) string {
	return filepath.Join(p.service(service), "last-known-good")
}

func (p Paths) lock(service string) string {
	return filepath.Join(p.service(service), "activate.lock")
}

// saved holds the copies of the unit files from before a run.
func (p Paths) saved(service, runID string) string {
	return filepath.Join(p.service(service), "saved", runID)
}

func releaseFolder(home, release string) string {
	return filepath.Join(home, "releases", release)
}

func configFile(home, release, name string) string {
	return filepath.Join(releaseFolder(home, release), "conf", name)
}
