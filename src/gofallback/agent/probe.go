package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"
)

// bodyLimit is how much of a response is read: a health page is small, a wrong URL may be endless.
const bodyLimit = 1 << 20

// Probe runs one check and describes the result in one line.
type Probe func(ctx context.Context) (detail string, err error)

// probe returns the check as a function. The timeout holds for each call.
func (h Health) probe() Probe {
	return func(ctx context.Context) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, h.Timeout.Duration())
		defer cancel()
		detail, err := h.Check.run(ctx)
		if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %v", h.Timeout.Duration())
		}
		return detail, err
	}
}

func (c Check) run(ctx context.Context) (string, error) {
	switch c.Type {
	case "http":
		return c.runHTTP(ctx)
	case "tcp":
		return c.runTCP(ctx)
	case "command":
		return c.runCommand(ctx)
	}
	return "", fmt.Errorf("unknown type of check %q", c.Type)
}

func (c Check) runTCP(ctx context.Context) (string, error) {
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.Address)
	if err != nil {
		return "", err
	}
	connection.Close()
	return c.Address + " accepts connections", nil
}

func (c Check) runHTTP(ctx context.Context) (string, error) {
	trust, err := c.tlsConfig()
	if err != nil {
		return "", err
	}
	client := &http.Client{
		// No proxy: the target checks itself. No keep-alive: the old process may still hold such a connection.
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: trust},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL, nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("User-Agent", "gofallback-agent")
	for key, value := range c.Headers {
		request.Header.Set(key, value)
		if strings.EqualFold(key, "Host") {
			request.Host = value
		}
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, bodyLimit))
	if err != nil {
		return "", fmt.Errorf("GET %s: reading the body: %w", c.URL, err)
	}
	return c.checkResponse(response.StatusCode, body)
}

func (c Check) checkResponse(status int, body []byte) (string, error) {
	if status != c.Status {
		return "", fmt.Errorf("GET %s: expected status %d, got %d: %s", c.URL, c.Status, status, firstLine(body))
	}
	if c.Body != "" {
		pattern, err := regexp.Compile(c.Body)
		if err != nil {
			return "", err
		}
		if !pattern.Match(body) {
			return "", fmt.Errorf("GET %s: body does not match %q: %s", c.URL, c.Body, firstLine(body))
		}
	}
	return fmt.Sprintf("GET %s: %d", c.URL, status), nil
}

func (c Check) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{InsecureSkipVerify: c.Insecure} //nolint:gosec // explicit setting in group data
	if c.CAFile == "" {
		return config, nil
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca_file %s: no PEM certificate in it", c.CAFile)
	}
	return config, nil
}

// firstLine shortens output to one line that fits a log.
func firstLine(text []byte) string {
	line := string(bytes.TrimSpace(text))
	if cut := strings.IndexAny(line, "\r\n"); cut >= 0 {
		line = line[:cut]
	}
	return shorten(line)
}

func lastLine(text []byte) string {
	line := string(bytes.TrimSpace(text))
	if cut := strings.LastIndexAny(line, "\r\n"); cut >= 0 {
		line = line[cut+1:]
	}
	return shorten(line)
}

func shorten(line string) string {
	line = strings.ToValidUTF8(line, "?")
	if len(line) > 200 {
		line = strings.ToValidUTF8(line[:200], "") + "..."
	}
	return line
}

// since is a duration in seconds, rounded to milliseconds for people and JSON.
func since(start, now time.Time) float64 {
	return float64(now.Sub(start).Round(time.Millisecond)) / float64(time.Second)
}
