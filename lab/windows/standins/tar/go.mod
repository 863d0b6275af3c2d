module gofallback.invalid/lab/tar

go 1.26
