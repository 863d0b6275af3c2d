package main

import (
	"fmt"
	"strings"
	"time"
)

const defaultAfter = 2 * time.Second

var kinds = []string{"", "crash", "unhealthy", "flap", "slow", "hang"}

// fault is how this process misbehaves; the zero value behaves.
type fault struct {
	kind  string
	after time.Duration
}

// parseFault reads the values of HELLO_FAULT and HELLO_FAULT_AFTER.
func parseFault(kind, after string) (fault, error) {
	parsed := fault{kind: kind, after: defaultAfter}
	if after != "" {
		wait, err := time.ParseDuration(after)
		if err != nil {
			return fault{}, fmt.Errorf("HELLO_FAULT_AFTER=%q: expected a duration such as 2s", after)
		}
		parsed.after = wait
	}
	for _, known := range kinds {
		if kind == known {
			return parsed, nil
		}
	}
	return fault{}, fmt.Errorf("HELLO_FAULT=%q: expected one of %s", kind, strings.Join(kinds[1:], ", "))
}

// healthy reports whether the service says it is well, `age` after it began to serve.
func (f fault) healthy(age time.Duration) bool {
	switch f.kind {
	case "unhealthy":
		return false
	case "flap":
		return age < f.after
	}
	return true
}
