package main

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// request is what a controller asks for. It travels by standard input and is never written to disk: its environment and
// the command's input may hold secrets.
type request struct {
	line        string // for cmd.exe or sh
	directory   string
	label       string
	product     string // a file the job leaves; an ended job whose product is gone is run again
	environment []string
	secrets     []string // masked in the log
	input       []byte   // the command's standard input
	timeout     time.Duration
}

// parseRequest reads records `name length\n` + bytes + `\n`, the form in which `run` gets a job and `serve` gets it on.
func parseRequest(data []byte) (request, error) {
	var asked request
	seen := false
	for len(data) > 0 {
		head, _, found := strings.Cut(string(data[:min(len(data), 80)]), "\n")
		name, digits, ok := strings.Cut(head, " ")
		length, err := strconv.Atoi(digits)
		start := len(head) + 1
		if !found || !ok || err != nil || length < 0 || start+length >= len(data) || data[start+length] != '\n' {
			return asked, errors.New("the job is cut off or not in the form of this helper")
		}
		value := data[start : start+length]
		data = data[start+length+1:]
		switch name {
		case "line":
			asked.line, seen = string(value), true
		case "directory":
			asked.directory = string(value)
		case "label":
			asked.label = oneLine(string(value))
		case "product":
			asked.product = oneLine(string(value))
		case "environment":
			asked.environment = append(asked.environment, string(value))
		case "secret":
			if len(value) > 3 { // a shorter one would mask half of the log
				asked.secrets = append(asked.secrets, string(value))
			}
		case "input":
			asked.input = append([]byte{}, value...)
		case "timeout":
			seconds, err := strconv.ParseFloat(string(value), 64)
			if err != nil || seconds <= 0 {
				return asked, errors.New("timeout: expected seconds above 0")
			}
			asked.timeout = time.Duration(seconds * float64(time.Second))
		default:
			return asked, errors.New("unknown record " + name)
		}
	}
	if !seen || asked.timeout == 0 {
		return asked, errors.New("a job needs a line and a timeout")
	}
	return asked, nil
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

// environment lays a job's variables over those of this process; an empty value takes a variable away.
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
