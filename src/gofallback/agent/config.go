package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// Seconds is a duration as a number of seconds in JSON.
type Seconds float64

// Duration converts to Go's type.
func (s Seconds) Duration() time.Duration { return time.Duration(float64(s) * float64(time.Second)) }

// Health is health.json: one check and its times.
type Health struct {
	Service        string  `json:"service"`
	Release        string  `json:"release"`
	Check          Check   `json:"check"`
	Timeout        Seconds `json:"timeout"`
	Interval       Seconds `json:"interval"`
	StartDeadline  Seconds `json:"start_deadline"`
	MinimumHealthy Seconds `json:"minimum_healthy"`
}

// Check is one health check; Type decides which fields it uses.
type Check struct {
	Type     string            `json:"type"`
	URL      string            `json:"url"`
	Status   int               `json:"status"`
	Body     string            `json:"body"`
	Headers  map[string]string `json:"headers"`
	CAFile   string            `json:"ca_file"`
	Insecure bool              `json:"insecure"`
	Address  string            `json:"address"`
	Argv     []string          `json:"argv"`
	User     string            `json:"user"`
}

// Plan is activation.json: the release to switch to and its units.
type Plan struct {
	Service      string   `json:"service"`
	Home         string   `json:"home"`
	Release      string   `json:"release"`
	RunID        string   `json:"run_id"`
	StartedBy    string   `json:"started_by"`
	Units        []string `json:"units"`
	MainUnit     string   `json:"main_unit"`
	SocketUnit   string   `json:"socket_unit"`
	TimerUnit    string   `json:"timer_unit"`
	Health       *Health  `json:"health"`
	KeepReleases int      `json:"keep_releases"`

	ownHealth bool // Health was in activation.json, not in the release's health.json
}

var (
	namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,199}$`)
	runPattern  = regexp.MustCompile(`^[A-Za-z0-9._-]{1,80}$`)
	unitPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9:_.\\@-]*\.(service|socket|timer|target|path|mount|slice)$`)
)

// loadHealth reads and validates health.json.
func loadHealth(path string) (Health, error) {
	var health Health
	if err := readJSON(path, &health); err != nil {
		return health, err
	}
	if health.Release == "" {
		health.Release = releaseOf(path)
	}
	if err := health.validate(); err != nil {
		return health, fmt.Errorf("%s: %w", path, err)
	}
	return health, nil
}

func (h *Health) validate() error {
	for _, field := range []struct {
		name  string
		value *Seconds
		unset Seconds
	}{
		{"timeout", &h.Timeout, 2}, {"interval", &h.Interval, 0.25}, {"start_deadline", &h.StartDeadline, 60},
		{"minimum_healthy", &h.MinimumHealthy, 0},
	} {
		if *field.value == 0 {
			*field.value = field.unset
		}
		if *field.value < 0 || *field.value > 86400 {
			return fmt.Errorf("%s: expected seconds between 0 and 86400, got %v", field.name, *field.value)
		}
	}
	return h.Check.validate()
}

func (c *Check) validate() error {
	switch c.Type {
	case "http":
		if c.URL == "" {
			return errors.New("check.url: missing")
		}
		if c.Status == 0 {
			c.Status = 200
		}
		if _, err := regexp.Compile(c.Body); err != nil {
			return fmt.Errorf("check.body: not an RE2 pattern: %w", err)
		}
	case "tcp":
		if c.Address == "" {
			return errors.New("check.address: missing, expected host:port")
		}
	case "command":
		if len(c.Argv) == 0 {
			return errors.New("check.argv: missing, expected a list of words")
		}
	default:
		return fmt.Errorf("check.type: expected http, tcp or command, got %q", c.Type)
	}
	return nil
}

// loadPlan reads activation.json. Without a release in it, the release is the folder that the file lies in.
func loadPlan(path string) (Plan, error) {
	var plan Plan
	if err := readJSON(path, &plan); err != nil {
		return plan, err
	}
	if plan.Release == "" {
		plan.Release = releaseOf(path)
	}
	return plan, nil
}

// validate checks every value that becomes a path or a command line argument, and sets defaults.
func (p *Plan) validate() error {
	if p.KeepReleases == 0 {
		p.KeepReleases = 5
	}
	switch {
	case !namePattern.MatchString(p.Service):
		return fmt.Errorf("service: expected a name, got %q", p.Service)
	case !filepath.IsAbs(p.Home):
		return fmt.Errorf("home: expected an absolute path, got %q", p.Home)
	case !namePattern.MatchString(p.Release):
		return fmt.Errorf("release: expected the name of a folder in %s/releases, got %q", p.Home, p.Release)
	case !runPattern.MatchString(p.RunID):
		return fmt.Errorf("run_id: expected %s, got %q; give -run-id", runPattern, p.RunID)
	case p.KeepReleases < 2:
		return fmt.Errorf("keep_releases: expected at least 2, got %d", p.KeepReleases)
	}
	known := map[string]bool{"": true}
	for _, unit := range p.Units {
		if !unitPattern.MatchString(unit) {
			return fmt.Errorf("units: expected file names of systemd units, got %q", unit)
		}
		known[unit] = true
	}
	for key, unit := range map[string]string{
		"main_unit": p.MainUnit, "socket_unit": p.SocketUnit, "timer_unit": p.TimerUnit,
	} {
		if !known[unit] || (key == "main_unit" && unit == "") {
			return fmt.Errorf("%s: expected one of units, got %q", key, unit)
		}
	}
	return nil
}

// resolve reads the parts that the plan leaves to the release's folder, and checks that the folder is complete.
func (p *Plan) resolve() error {
	if err := p.validate(); err != nil {
		return err
	}
	for _, unit := range p.Units {
		if _, err := os.Stat(configFile(p.Home, p.Release, unit)); err != nil {
			return fmt.Errorf("release %s is incomplete: %w; upload it again", p.Release, err)
		}
	}
	if p.Health != nil {
		p.ownHealth = true
		return p.Health.validate()
	}
	health, err := loadHealth(configFile(p.Home, p.Release, "health.json"))
	p.Health = &health
	return err
}

// releaseOf returns the release of a file in releases/<release>/conf/, or "" for a file elsewhere.
func releaseOf(path string) string {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	if real, err = filepath.Abs(real); err != nil {
		return ""
	}
	folder := filepath.Dir(filepath.Dir(real))
	if filepath.Base(filepath.Dir(real)) != "conf" || filepath.Base(filepath.Dir(folder)) != "releases" {
		return ""
	}
	return filepath.Base(folder)
}

// forRecord is the plan without a health check that can be read from its file again: the check may hold a token.
func (p Plan) forRecord() *Plan {
	if !p.ownHealth {
		p.Health = nil
	}
	return &p
}
