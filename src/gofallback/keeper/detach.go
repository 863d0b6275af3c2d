package main

import (
	"os"
	"syscall"
)

// startWatcher starts this program once more as the watcher of a job, with the job as its input and no output. The watcher
// exits at once when the job's instance is not `last` any more.
func startWatcher(job folder, data []byte, last string, attributes *syscall.SysProcAttr) (*os.Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	input, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	process, err := os.StartProcess(self, []string{self, "serve", job.jobs, job.id, last}, &os.ProcAttr{
		Dir: job.jobs, Files: []*os.File{input, null, null}, Sys: attributes,
	})
	input.Close()
	if err != nil {
		in.Close()
		return nil, err
	}
	_, err = in.Write(data)
	in.Close()
	if err != nil {
		process.Kill()
		return nil, err
	}
	return process, nil
}
