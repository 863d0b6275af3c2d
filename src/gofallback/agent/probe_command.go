package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
	"time"
)

const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// runCommand runs argv in its own process group, so that no process of it outlives the timeout.
func (c Check) runCommand(ctx context.Context) (string, error) {
	command := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	output := &tail{limit: 64 << 10}
	command.Stdout, command.Stderr = output, output
	command.Dir = "/"
	command.Env = []string{"PATH=" + searchPath, "LANG=C.UTF-8"}
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = 200 * time.Millisecond // a descendant may hold the pipe open
	if c.User != "" {
		if err := runAs(command, c.User); err != nil {
			return "", err
		}
	}
	err := command.Run()
	detail := lastLine(output.Bytes())
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return "", fmt.Errorf("%s: %w: %s", c.Argv[0], err, detail)
	}
	return fmt.Sprintf("%s: %s", c.Argv[0], detail), nil
}

func runAs(command *exec.Cmd, name string) error {
	account, err := user.Lookup(name)
	if err != nil {
		return fmt.Errorf("check.user: %w", err)
	}
	command.Env = append(command.Env, "HOME="+account.HomeDir, "USER="+name, "LOGNAME="+name)
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		return err
	}
	if int(uid) == os.Geteuid() {
		return nil
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	if err != nil {
		return err
	}
	credential := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	groups, err := account.GroupIds()
	if err != nil {
		return err
	}
	for _, group := range groups {
		if id, err := strconv.ParseUint(group, 10, 32); err == nil {
			credential.Groups = append(credential.Groups, uint32(id))
		}
	}
	command.SysProcAttr.Credential = credential
	return nil
}

// tail keeps the last bytes that are written to it.
type tail struct {
	bytes.Buffer
	limit int
}

func (t *tail) Write(data []byte) (int, error) {
	n, err := t.Buffer.Write(data)
	if extra := t.Len() - t.limit; extra > 0 {
		t.Next(extra)
	}
	return n, err
}
