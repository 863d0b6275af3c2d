module gofallback.local/keeper

go 1.21
