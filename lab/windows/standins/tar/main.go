// Command tar stands in for the bsdtar of Windows: `-xf ARCHIVE [-C DIR]`, `-tf ARCHIVE`, with -v, -z and
// --strip-components, for .zip, .tar and .tar.gz. Texts and exit codes are bsdtar's (libarchive 3.x): errors on
// standard error, 1 when anything failed, nothing said when all went well.
package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

const version = "bsdtar 3.7.7 - libarchive 3.7.7 (stand-in of the gofallback lab)"

type options struct {
	mode    byte // 'x' or 't'
	archive string
	folder  string
	verbose bool
	strip   int
	members []string
}

func die(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "tar: "+format+"\r\n", args...)
	os.Exit(1)
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Print(version + "\r\n")
		return
	}
	opts := parse(os.Args[1:])
	if opts.mode == 0 {
		die("Must specify one of -c, -r, -t, -u, -x")
	}
	if opts.archive == "" {
		opts.archive = `\\.\tape0`
	}
	archive, err := filepath.Abs(opts.archive)
	if err != nil {
		die("Error opening archive: Failed to open '%s'", opts.archive)
	}
	if opts.folder != "" {
		if err := os.Chdir(opts.folder); err != nil {
			die("could not chdir to '%s'", opts.folder)
		}
	}
	source, err := open(archive)
	if os.IsNotExist(err) || os.IsPermission(err) {
		die("Error opening archive: Failed to open '%s'", opts.archive)
	} else if err != nil {
		die("Error opening archive: %v", err)
	}
	job := &job{opts: opts}
	source(job)
	job.finish()
}

func parse(args []string) options {
	var opts options
	for i := 0; i < len(args); i++ {
		next := func(flag string) string {
			if i++; i >= len(args) {
				die("Option %s requires an argument", flag)
			}
			return args[i]
		}
		arg := args[i]
		switch {
		case strings.HasPrefix(arg, "--strip-components"):
			value, joined := strings.CutPrefix(arg, "--strip-components=")
			if !joined {
				value = next(arg)
			}
			opts.strip, _ = strconv.Atoi(value)
		case strings.HasPrefix(arg, "--"):
			die("Option %s is not supported", arg)
		case strings.HasPrefix(arg, "-") || i == 0:
			opts.letters(strings.TrimPrefix(arg, "-"), next)
		default:
			opts.members = append(opts.members, path.Clean(filepath.ToSlash(arg)))
		}
	}
	return opts
}

// letters reads one bundle such as `xvf`; a letter with an argument takes the rest of the bundle or the next word.
func (opts *options) letters(bundle string, next func(string) string) {
	for at, letter := range bundle {
		rest := bundle[at+1:]
		value := func() string {
			if rest != "" {
				return rest
			}
			return next("-" + string(letter))
		}
		switch letter {
		case 'x', 't':
			opts.mode = byte(letter)
		case 'v':
			opts.verbose = true
		case 'z', 'j', 'J', 'm', 'p', 'o', 'k': // the format is recognised by content; the others change nothing here
		case 'f':
			opts.archive = value()
			return
		case 'C':
			opts.folder = value()
			return
		default:
			die("Option -%c is not supported", letter)
		}
	}
}

// wanted says where an entry goes: its name after --strip-components, and whether it is to be handled at all.
func (opts *options) wanted(name string) (string, bool) {
	name = strings.ReplaceAll(name, `\`, "/")
	if len(opts.members) > 0 {
		found := false
		for _, member := range opts.members {
			clean := strings.TrimSuffix(name, "/")
			found = found || clean == member || strings.HasPrefix(clean, member+"/")
		}
		if !found {
			return "", false
		}
	}
	parts := strings.Split(name, "/")
	if opts.strip >= len(parts) {
		return "", false
	}
	name = strings.Join(parts[opts.strip:], "/")
	return name, name != ""
}
