// probe is the program that the connector tests run on a Windows host: it says, in UTF-8, what reached it.
//
//	probe args ARG...        each argument as a JSON array on stdout
//	probe env NAME           the variable as a JSON string, null when it is not set
//	probe cwd                the working directory
//	probe spew N             N bytes in lines of 100 on stdout
//	probe both               a line on stdout, a line on stderr
//	probe cat                stdin to stdout; the number of bytes on stderr
//	probe exit N             ends with status N (32 bits)
//	probe tree FILE          a child that writes to FILE every 50 ms, and waits for it
//	probe write FILE         the child
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

func say(value any) {
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	must(encoder.Encode(value))
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(3)
	}
}

func number(text string) int {
	value, err := strconv.ParseInt(text, 10, 64)
	must(err)
	return int(value)
}

func main() {
	rest := os.Args[2:]
	switch os.Args[1] {
	case "args":
		say(rest)
	case "env":
		if value, found := os.LookupEnv(rest[0]); found {
			say(value)
		} else {
			say(nil)
		}
	case "cwd":
		folder, err := os.Getwd()
		must(err)
		say(folder)
	case "spew":
		line := strings.Repeat("x", 99) + "\n"
		_, err := io.WriteString(os.Stdout, strings.Repeat(line, number(rest[0])/100))
		must(err)
	case "both":
		fmt.Fprintln(os.Stdout, "to stdout")
		fmt.Fprintln(os.Stderr, "to stderr")
	case "cat":
		count, err := io.Copy(os.Stdout, os.Stdin)
		must(err)
		fmt.Fprintln(os.Stderr, count)
	case "exit":
		os.Exit(number(rest[0]))
	case "tree":
		child := exec.Command(os.Args[0], "write", rest[0])
		must(child.Start())
		fmt.Println("started")
		must(child.Wait())
	case "write":
		for {
			must(os.WriteFile(rest[0], []byte(time.Now().Format(time.RFC3339Nano)), 0o644))
			time.Sleep(50 * time.Millisecond)
		}
	default:
		fmt.Fprintln(os.Stderr, "probe: what?")
		os.Exit(2)
	}
}
