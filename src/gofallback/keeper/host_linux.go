package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// marker is in the environment of every process of a job; by it those are found whose parent is gone.
const marker = "GOFALLBACK_JOB="

const prSetChildSubreaper = 36

func environmentKey(name string) string { return name }

func breakawayRefused(error) bool { return false }

// lock takes the file's lock, which ends with this process: exclusively, or shared to check whether it is free.
func lock(path string, exclusive bool) (*os.File, error) {
	flags := os.O_RDWR
	how := syscall.LOCK_SH
	if exclusive {
		flags |= os.O_CREATE
		how = syscall.LOCK_EX
	}
	file, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		err = syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
		if err == nil {
			return file, nil
		}
		if !exclusive || try > 20 { // another process may just be checking it
			file.Close()
			return nil, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// detach starts the watcher in a session of its own, which a hang-up of this one does not reach.
func detach(job folder, data []byte, last string) (*os.Process, error) {
	return startWatcher(job, data, last, &syscall.SysProcAttr{Setsid: true})
}

func ownInstance() string {
	return strconv.Itoa(os.Getpid()) + "-" + creation(os.Getpid())
}

// creation identifies a process: its start in clock ticks since the boot (proc(5), field 22), and the boot.
func creation(pid int) string {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return fields[19] + "-" + strings.TrimSpace(string(boot))[:min(8, len(strings.TrimSpace(string(boot))))]
}

type tree struct {
	pid     int
	process *os.Process
}

// startTree starts the command in a session of its own; this process adopts its orphaned processes.
func startTree(line, directory string, env []string, files [3]*os.File) (*tree, error) {
	runtime.LockOSThread() // Pdeathsig counts the thread as the parent (prctl(2))
	syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0)
	process, err := os.StartProcess("/bin/sh", []string{"sh", "-c", line}, &os.ProcAttr{
		Dir: directory, Env: env, Files: files[:],
		Sys: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return nil, err
	}
	return &tree{process.Pid, process}, nil
}

func (t *tree) wait() uint32 {
	state, err := t.process.Wait()
	if err != nil {
		return 1
	}
	if code := state.ExitCode(); code >= 0 {
		return uint32(code)
	}
	if how, ok := state.Sys().(syscall.WaitStatus); ok && how.Signaled() {
		return 128 + uint32(how.Signal()) // as a shell does
	}
	return 1
}

func (t *tree) kill(instance string) {
	sweep(instance)
}

// sweep ends every process of a job, found by the marker, and waits until none is left.
func sweep(instance string) {
	for try := 0; try < 200; try++ {
		found := marked(instance)
		if len(found) == 0 {
			return
		}
		for _, pid := range found {
			syscall.Kill(pid, syscall.SIGKILL)
			syscall.Wait4(pid, nil, syscall.WNOHANG, nil) // of an adopted process; the command's own end is for `wait`
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// marked finds the processes of a job: those with its marker, and their descendants, which may have removed theirs.
func marked(instance string) []int {
	entries, _ := filepath.Glob("/proc/[0-9]*")
	parent, hit := map[int]int{}, map[int]bool{}
	for _, entry := range entries {
		pid, err := strconv.Atoi(filepath.Base(entry))
		if err != nil || pid == os.Getpid() {
			continue
		}
		data, err := os.ReadFile(entry + "/stat")
		if err != nil {
			continue
		}
		fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
		if fields[0] == "Z" {
			syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
			continue
		}
		parent[pid], _ = strconv.Atoi(fields[1])
		env, err := os.ReadFile(entry + "/environ")
		if err == nil && strings.Contains("\x00"+string(env)+"\x00", "\x00"+marker+instance+"\x00") {
			hit[pid] = true
		}
	}
	self := os.Getpid()
	var found []int
	for pid := range parent {
		for at, steps := pid, 0; steps < 64 && at > 1; at, steps = parent[at], steps+1 {
			if hit[at] || at != pid && at == self {
				found = append(found, pid)
				break
			}
		}
	}
	return found
}

func killWatcher(found status) {
	if creation(found.pid) != "" && strconv.Itoa(found.pid)+"-"+creation(found.pid) == found.instance {
		syscall.Kill(found.pid, syscall.SIGKILL)
	}
}
