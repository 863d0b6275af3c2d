package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
)

// Lease is the one line that controllers keep on a target: who may write there. The agent only reads it.
type Lease struct {
	Number int64
	RunID  string // "": given back
	Who    string
}

// readLease returns the zero lease when there never was one.
func readLease(path string) (Lease, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Lease{}, nil
	}
	if err != nil {
		return Lease{}, err
	}
	// A lease that was given back has the number alone.
	fields := append(strings.Split(strings.TrimRight(string(data), "\n"), "\t"), "", "")
	number, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		// The same words as release/lease.py. Removing it would begin the numbers anew, below those of late writers.
		return Lease{}, fmt.Errorf("%s holds no lease; see that nobody rolls out, write a number there that is greater than any before, and run again",
			path)
	}
	return Lease{Number: number, RunID: fields[1], Who: fields[2]}, nil
}

// fenced refuses a writer whose number is older than the lease's. 0: the writer has none and is not checked.
func fenced(paths Paths, service string, number int64) error {
	if number == 0 {
		return nil
	}
	lease, err := readLease(paths.lease(service))
	switch {
	case err != nil:
		return err
	case lease.Number <= number:
		return nil
	case lease.RunID == "":
		return fmt.Errorf("fenced: a later run took over and has ended (number %d, ours %d)", lease.Number, number)
	}
	return fmt.Errorf("fenced: run %s of %s took over (number %d, ours %d)", lease.RunID, lease.Who, lease.Number, number)
}

// renewedAt is the uptime at which the lease was last renewed, if it is a lease of this run; 0 if not.
// One that was given back, because its controller died or its network was cut, was renewed until then: the run has the whole window to come back.
func renewedAt(paths Paths, service string, record *Record, now time.Duration) time.Duration {
	lease, err := readLease(paths.lease(service))
	givenBack := lease.RunID == "" && record.Fence != 0 && lease.Number == record.Fence
	if err != nil || !(givenBack || (lease.RunID != "" && sameRun(lease.RunID, record.RunID))) {
		return 0
	}
	data, err := os.ReadFile(paths.renewed(service))
	if err != nil {
		return 0
	}
	number, uptime, _ := strings.Cut(strings.TrimSpace(string(data)), "\t")
	seconds, err := strconv.ParseFloat(uptime, 64)
	if err != nil || number != strconv.FormatInt(lease.Number, 10) {
		return 0
	}
	at := Seconds(seconds).Duration()
	if at > now+time.Second { // of another boot, or nonsense: it would hold for ever
		return 0
	}
	return at
}
