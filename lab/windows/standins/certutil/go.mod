module gofallback.invalid/lab/certutil

go 1.26
