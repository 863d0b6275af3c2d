package main

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

const marker = "GOFALLBACK_JOB="

const (
	createSuspended       = 0x00000004
	detachedProcess       = 0x00000008
	createNoWindow        = 0x08000000
	breakawayFromJob      = 0x01000000
	errorAccessDenied     = syscall.Errno(5)
	lockExclusive         = 2
	lockFailImmediately   = 1
	extendedLimits        = 9 // JobObjectExtendedLimitInformation
	killOnJobClose        = 0x2000
	queryLimitedTerminate = 0x1000 | 0x0001
)

var (
	kernel32     = syscall.NewLazyDLL("kernel32.dll")
	lockFileEx   = kernel32.NewProc("LockFileEx")
	createJob    = kernel32.NewProc("CreateJobObjectW")
	setJob       = kernel32.NewProc("SetInformationJobObject")
	assignJob    = kernel32.NewProc("AssignProcessToJobObject")
	terminateJob = kernel32.NewProc("TerminateJobObject")
	resume       = syscall.NewLazyDLL("ntdll.dll").NewProc("NtResumeProcess")
)

func environmentKey(name string) string { return strings.ToUpper(name) }

// breakawayRefused: CreateProcess fails so when the session's job object allows no process to leave it.
func breakawayRefused(err error) bool { return errors.Is(err, errorAccessDenied) }

// lock takes the file's lock, which ends with this process: exclusively, or shared to check whether it is free.
func lock(path string, exclusive bool) (*os.File, error) {
	flags := os.O_RDWR
	how := uintptr(lockFailImmediately)
	if exclusive {
		flags |= os.O_CREATE
		how |= lockExclusive
	}
	file, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		var overlapped syscall.Overlapped
		done, _, failure := lockFileEx.Call(file.Fd(), how, 0, 1, 0, uintptr(unsafe.Pointer(&overlapped)))
		if done != 0 {
			return file, nil
		}
		if !exclusive || try > 20 { // another process may just be checking it
			file.Close()
			return nil, failure
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// detach starts the watcher outside of the job object in which sshd holds the session; Win32-OpenSSH allows that since
// 7.6 (PowerShell/openssh-portable#267).
func detach(job folder, data []byte, last string) (*os.Process, error) {
	flags := uint32(breakawayFromJob | detachedProcess | syscall.CREATE_NEW_PROCESS_GROUP)
	return startWatcher(job, data, last, &syscall.SysProcAttr{CreationFlags: flags})
}

func ownInstance() string {
	self, _ := syscall.GetCurrentProcess()
	return strconv.Itoa(os.Getpid()) + "-" + creation(self)
}

func creation(process syscall.Handle) string {
	var made, ended, kernel, user syscall.Filetime
	if syscall.GetProcessTimes(process, &made, &ended, &kernel, &user) != nil {
		return ""
	}
	return strconv.FormatUint(uint64(made.HighDateTime)<<32|uint64(made.LowDateTime), 16)
}

type tree struct {
	pid     int
	process syscall.Handle
	job     uintptr
}

// startTree starts the command as sshd would, suspended until it is in a job object of its own, which no process can
// leave. The job object ends with its last handle, which this process has.
func startTree(line, directory string, env []string, files [3]*os.File) (*tree, error) {
	job, _, failure := createJob.Call(0, 0)
	if job == 0 {
		return nil, failure
	}
	var limits [144]byte // JOBOBJECT_EXTENDED_LIMIT_INFORMATION on 64 bits; LimitFlags is at offset 16
	*(*uint32)(unsafe.Pointer(&limits[16])) = killOnJobClose
	if done, _, failure := setJob.Call(job, extendedLimits, uintptr(unsafe.Pointer(&limits[0])), uintptr(len(limits))); done == 0 {
		return nil, failure
	}
	shell := os.Getenv("SystemRoot") + `\System32\cmd.exe`
	pid, handle, err := syscall.StartProcess(shell, []string{shell}, &syscall.ProcAttr{
		Dir: directory, Env: env, Files: []uintptr{files[0].Fd(), files[1].Fd(), files[2].Fd()},
		Sys: &syscall.SysProcAttr{
			CmdLine:       `"` + shell + `" /d /c "` + line + `"`,
			CreationFlags: createSuspended | createNoWindow | syscall.CREATE_NEW_PROCESS_GROUP,
		},
	})
	if err != nil {
		return nil, err
	}
	process := syscall.Handle(handle)
	if done, _, failure := assignJob.Call(job, handle); done == 0 {
		syscall.TerminateProcess(process, 1)
		return nil, failure
	}
	if code, _, _ := resume.Call(handle); code != 0 {
		syscall.TerminateProcess(process, 1)
		return nil, errors.New("NtResumeProcess: 0x" + strconv.FormatUint(uint64(uint32(code)), 16))
	}
	return &tree{pid, process, job}, nil
}

func (t *tree) wait() uint32 {
	syscall.WaitForSingleObject(t.process, syscall.INFINITE)
	var code uint32
	if syscall.GetExitCodeProcess(t.process, &code) != nil {
		return 1
	}
	return code
}

func (t *tree) kill(string) {
	terminateJob.Call(t.job, 1)
}

// sweep has nothing to do: a job object ends with its watcher.
func sweep(string) {}

func killWatcher(found status) {
	process, err := syscall.OpenProcess(queryLimitedTerminate, false, uint32(found.pid))
	if err != nil {
		return
	}
	defer syscall.CloseHandle(process)
	if strconv.Itoa(found.pid)+"-"+creation(process) == found.instance {
		syscall.TerminateProcess(process, 1)
	}
}
