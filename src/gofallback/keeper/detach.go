package main

import (
	"os"
	"syscall"
)

// startWatcher starts this program once more as the watcher of a job, with the job as its input and no output; it leaves
// at once when the job has another instance than the one that was seen.
func startWatcher(job folder, data []byte, seen string, how *syscall.SysProcAttr) (*os.Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	nothing, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer nothing.Close()
	end, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	process, err := os.StartProcess(self, []string{self, "serve", job.jobs, job.id, seen}, &os.ProcAttr{
		Dir: job.jobs, Files: []*os.File{end, nothing, nothing}, Sys: how,
	})
	end.Close()
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
