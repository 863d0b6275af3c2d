package main

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// request is a job as a controller sends it. It arrives on standard input and is never written to a disk: its environment
// and the command's input may hold secrets.
type request struct {
	line        string // for cmd.exe or sh
	directory   string
	label       string
	product     string // a file that the job makes; an ended job whose product is gone is run again
	environment []string
	secrets     []string // masked in the log
	input       []byte   // the command's standard input
	timeout     time.Duration
}

// parseRequest parses records `name length\n` + bytes + `\n`; `run` passes a job on to `serve` in the same form.
func parseRequest(data []byte) (request, error) {
	var parsed request
	hasLine := false
	for len(data) > 0 {
		head, _, found := strings.Cut(string(data[:min(len(data), 80)]), "\n")
		name, digits, ok := strings.Cut(head, " ")
		length, err := strconv.Atoi(digits)
		start := len(head) + 1
		if !found || !ok || err != nil || length < 0 || start+length >= len(data) || data[start+length] != '\n' {
			return parsed, errors.New("the job is cut off or not in the form of this keeper")
		}
		value := data[start : start+length]
		data = data[start+length+1:]
		switch name {
		case "line":
			parsed.line, hasLine = string(value), true
		case "directory":
			parsed.directory = string(value)
		case "label":
			parsed.label = oneLine(string(value))
		case "product":
			parsed.product = oneLine(string(value))
		case "environment":
			parsed.environment = append(parsed.environment, string(value))
		case "secret":
			if len(value) > 3 { // a shorter one would mask half of the log
				parsed.secrets = append(parsed.secrets, string(value))
			}
		case "input":
			parsed.input = append([]byte{}, value...)
		case "timeout":
			seconds, err := strconv.ParseFloat(string(value), 64)
			if err != nil || seconds <= 0 {
				return parsed, errors.New("timeout: expected seconds above 0")
			}
			parsed.timeout = time.Duration(seconds * float64(time.Second))
		default:
			return parsed, errors.New("unknown record " + name)
		}
	}
	if !hasLine || parsed.timeout == 0 {
		return parsed, errors.New("a job needs a line and a timeout")
	}
	return parsed, nil
}

func readAll(from io.Reader) ([]byte, error) {
	var data []byte
	buffer := make([]byte, 32<<10)
	for {
		count, err := from.Read(buffer)
		data = append(data, buffer[:count]...)
		if err == io.EOF {
			return data, nil
		}
		if err != nil {
			return data, err
		}
	}
}

func oneLine(text string) string {
	return strings.Map(func(letter rune) rune {
		if letter < ' ' {
			return ' '
		}
		return letter
	}, text)
}

// environment lays a job's variables over those of this process; an empty value removes a variable.
func environment(base, over []string) []string {
	value := map[string]string{}
	var order []string
	for _, pair := range append(append([]string{}, base...), over...) {
		// Windows has variables such as `=C:`, one for each drive.
		at := strings.IndexByte(pair[min(1, len(pair)):], '=')
		if at < 0 {
			continue
		}
		key := environmentKey(pair[:at+1])
		if _, there := value[key]; !there {
			order = append(order, key)
		}
		value[key] = pair
	}
	var made []string
	for _, key := range order {
		if !strings.HasSuffix(value[key], "=") {
			made = append(made, value[key])
		}
	}
	return made
}
