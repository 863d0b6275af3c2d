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

// Lease is one line that controllers keep on a target: which run may write there. The agent only reads it.
type Lease struct {
	Number int64
	RunID  string // "": released
	Who    string
}

// readLease returns the zero value if there never was a lease.
func readLease(path string) (Lease, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Lease{}, nil
	}
	if err != nil {
		return Lease{}, err
	}
	// A released lease has only the number.
	fields := append(strings.Split(strings.TrimRight(string(data), "\n"), "\t"), "", "")
	number, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		// The message of lease/holder.py. Removing the file would restart the numbers below those of late writers.
		return Lease{}, fmt.Errorf("%s holds no lease; make sure that no rollout runs, write a number there that is greater than any before, "+
			"and run again", path)
	}
	return Lease{Number: number, RunID: fields[1], Who: fields[2]}, nil
}

// checkFence refuses a writer whose number is lower than the lease's. 0: the writer has no lease and is not checked.
func checkFence(paths Paths, service string, number int64) error {
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

// lastRenewal is the uptime of the last renewal of the lease, or 0 if the lease is not of this run. A lease that was
// released because its controller died or its network was cut had been renewed until then: from that moment the run has
// the whole window to reconnect.
func lastRenewal(paths Paths, service string, record *Record, now time.Duration) time.Duration {
	lease, err := readLease(paths.lease(service))
	released := lease.RunID == "" && record.Fence != 0 && lease.Number == record.Fence
	if err != nil || !(released || (lease.RunID != "" && sameRun(lease.RunID, record.RunID))) {
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
	if at > now+time.Second { // from another boot, or damaged: it would extend the window forever
		return 0
	}
	return at
}
