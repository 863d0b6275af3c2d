package main

import (
	"fmt"
	"syscall"
)

// systemdStatus explains exit statuses that systemd sets itself, so that the service never ran: systemd.exec(5)
// "Process Exit Codes".
var systemdStatus = map[int]string{
	200: "CHDIR, its working directory cannot be entered",
	203: "EXEC, the program cannot be executed: wrong architecture, or not executable",
	208: "STDIN, its input cannot be opened",
	209: "STDOUT, its output cannot be opened",
	216: "GROUP, its group does not exist",
	217: "USER, its user does not exist",
	218: "CAPABILITIES",
	226: "NAMESPACE, its file system view cannot be set up: a path of the unit is missing",
	228: "SECCOMP, its system call filter cannot be set up",
	238: "STATE_DIRECTORY",
	240: "LOGS_DIRECTORY",
	241: "CONFIGURATION_DIRECTORY",
}

// waitid(2)'s CLD_EXITED, CLD_KILLED and CLD_DUMPED.
const (
	codeExited = 1
	codeKilled = 2
	codeDumped = 3
)

// crash explains how a service ended, or returns "" while it runs or starts.
func (u UnitStatus) crash(unit string) string {
	switch {
	case u.ActiveState == "active" || u.ActiveState == "activating" || u.ActiveState == "reloading":
		if u.SubState != "auto-restart" && u.SubState != "auto-restart-queued" && u.NRestarts == 0 {
			return ""
		}
	case u.ActiveState == "deactivating" && u.Result == "success" && u.MainPID != 0:
		return unit + ": is being stopped, not by this agent"
	}
	switch {
	case u.Result == "oom-kill":
		return unit + ": killed, out of memory"
	case u.Result == "timeout":
		return unit + ": did not report readiness in time (TimeoutStartSec)"
	case u.Result == "watchdog":
		return unit + ": its watchdog timed out"
	case u.ExecMainCode == codeExited && systemdStatus[u.ExecMainStatus] != "":
		return fmt.Sprintf("%s: status %d/%s", unit, u.ExecMainStatus, systemdStatus[u.ExecMainStatus])
	case u.ExecMainCode == codeKilled || u.ExecMainCode == codeDumped:
		signal := syscall.Signal(u.ExecMainStatus)
		return fmt.Sprintf("%s: main process was killed by signal %d (%s)", unit, u.ExecMainStatus, signal)
	case u.ExecMainCode == codeExited && u.MainPID == 0:
		return fmt.Sprintf("%s: main process exited with status %d", unit, u.ExecMainStatus)
	case u.NRestarts > 0:
		return fmt.Sprintf("%s: main process ended and systemd started it again", unit)
	}
	return fmt.Sprintf("%s: %s (%s), result %s", unit, u.ActiveState, u.SubState, u.Result)
}

func (u UnitStatus) running() bool { return u.ActiveState == "active" || u.ActiveState == "reloading" }

// busy is true for a unit that has to be stopped before its file is removed.
func (u UnitStatus) busy() bool { return u.ActiveState != "inactive" && u.ActiveState != "" }

func (u UnitStatus) enabled() bool { return u.UnitFileState == "enabled" }
