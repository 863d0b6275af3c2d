module gofallback.local/agent

go 1.21
