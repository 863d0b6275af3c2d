// Command sshexec is the Windows half of the lab's SSH server. It runs one exec request the way Win32-OpenSSH does.
//
// The rules come from do_exec_windows() and setup_session_user_vars() of
// https://github.com/PowerShell/openssh-portable/blob/latestw_all/contrib/win32/win32compat/w32-doexec.c :
// the command line is `"c:\windows\system32\cmd.exe" /c "<command>"` with nothing escaped, the working folder is the
// profile, the machine's variables are those of the service's start, the user's come from HKCU\Environment, the process
// tree is in a job with KILL_ON_JOB_CLOSE and BREAKAWAY_OK, and the exit status keeps its 32 bits.
//
// Everything comes in SSHEXEC_* variables, never in arguments: Wine would quote arguments anew and change the command.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"unicode/utf16"
	"unsafe"
)

const (
	shell = `c:\windows\system32\cmd.exe`
	// lineLimit is cmd.exe's limit in UTF-16 units, see
	// https://learn.microsoft.com/troubleshoot/windows-client/shell-experience/command-line-string-limitation
	lineLimit = 8191

	killOnJobClose = 0x2000
	breakawayOK    = 0x0800
)

var kernel32 = syscall.NewLazyDLL("kernel32.dll")

func take(name string) string {
	value := os.Getenv(name)
	os.Unsetenv(name)
	return value
}

func main() {
	command, result := take("SSHEXEC_COMMAND"), take("SSHEXEC_RESULT")
	saved, session := take("SSHEXEC_MACHINE"), take("SSHEXEC_SESSION")
	for _, name := range []string{"XDG_RUNTIME_DIR", "LANG", "LC_ALL", "LOGNAME", "USER", "PWD", "OLDPWD", "SHLVL", "HOME", "_"} {
		os.Unsetenv(name) // what Wine's Unix side needs; no Windows program expects it
	}
	if os.Getenv("SSHEXEC_SNAPSHOT") != "" {
		os.Exit(snapshot(take("SSHEXEC_SNAPSHOT")))
	}
	code := run(command, saved, session)
	if result != "" {
		os.WriteFile(result, []byte(fmt.Sprint(uint32(code))), 0o644)
	}
	os.Exit(code)
}

// snapshot writes the machine's environment, without the user's own part, as the service sees it when it starts.
func snapshot(file string) int {
	block := strings.Join(machineEnvironment(os.Environ()), "\x00")
	if err := os.WriteFile(file, []byte(block), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "sshexec:", err)
		return 1
	}
	return 0
}

func run(command, machine, session string) int {
	environment, err := sessionEnvironment(machine, session)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sshexec:", err)
		return 255
	}
	line := `"` + shell + `"`
	if command != "" {
		line += ` /c "` + command + `"`
	}
	if len(utf16.Encode([]rune(line))) > lineLimit {
		os.Stderr.WriteString("The command line is too long.\r\n")
		return 1
	}
	enterJob()
	child := exec.Command(shell)
	child.SysProcAttr = &syscall.SysProcAttr{CmdLine: line}
	child.Env = environment
	child.Dir = lookup(environment, "USERPROFILE")
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = child.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode()
	case err != nil:
		fmt.Fprintln(os.Stderr, "sshexec:", err)
		return 255
	}
	return 0
}

// enterJob puts this process, and so all it starts, in a job that dies with the last handle: this process's own.
func enterJob() {
	job, _, _ := kernel32.NewProc("CreateJobObjectW").Call(0, 0)
	if job == 0 {
		return
	}
	var info [144]byte // JOBOBJECT_EXTENDED_LIMIT_INFORMATION on 64 bits; LimitFlags is at offset 16
	*(*uint32)(unsafe.Pointer(&info[16])) = killOnJobClose | breakawayOK
	kernel32.NewProc("SetInformationJobObject").Call(job, 9, uintptr(unsafe.Pointer(&info[0])), uintptr(len(info)))
	self, _, _ := kernel32.NewProc("GetCurrentProcess").Call()
	kernel32.NewProc("AssignProcessToJobObject").Call(job, self)
}
