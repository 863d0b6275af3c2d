// Command ledger reports its identity and its configuration on a TCP port.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"

	"example.test/ledger/internal/about"
)

// version is stamped by the build: -X main.version=v1.0.0
var version = "devel"

func main() {
	show := flag.Bool("version", false, "print what this is, and exit")
	config := flag.String("config", "", "file with the configuration")
	listen := flag.String("listen", ":8090", "address")
	flag.Parse()
	if *show {
		fmt.Println(about.Line("ledger", version))
		return
	}
	if err := serve(*listen, *config); err != nil {
		fmt.Fprintln(os.Stderr, "ledger:", err)
		os.Exit(1)
	}
}

// serve answers every connection with a line and the configuration.
func serve(address, config string) error {
	text, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		fmt.Fprintf(connection, "%s\n%s", about.Line("ledger", version), text)
		connection.Close()
	}
}
