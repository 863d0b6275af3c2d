// Command ledger-ctl is the second program of the service; role and version are stamped by the build.
package main

import (
	"fmt"

	"example.test/ledger/internal/about"
)

var (
	version = "devel"
	role    = "none"
)

func main() { fmt.Println(about.Line("ledger-ctl", version), role) }
