module gofallback.invalid/lab/sshexec

go 1.26
