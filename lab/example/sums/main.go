// Sums is a service with C code in it: it stores numbers in SQLite and serves their sum.
//
//	sums -version          print the version
//	sums -sum 40,2         print the sum, from a database in memory, and SQLite's version
//	sums -listen ADDRESS   send the same for 40,2 on every connection
package main

import (
	"database/sql"
	"flag"
	"fmt"
	"log"
	"net"
	"strings"

	_ "github.com/mattn/go-sqlite3"
)

var version = "dev"

func sum(numbers string) (string, error) {
	db, err := sql.Open("sqlite3", ":memory:")
	if err != nil {
		return "", err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("create table entry (amount integer)"); err != nil {
		return "", err
	}
	for _, number := range strings.Split(numbers, ",") {
		if _, err := db.Exec("insert into entry values (cast(? as integer))", number); err != nil {
			return "", err
		}
	}
	var total int
	var engine string
	err = db.QueryRow("select sum(amount), sqlite_version() from entry").Scan(&total, &engine)
	return fmt.Sprintf("sums %s sum %d sqlite %s", version, total, engine), err
}

func serve(address string) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		if line, err := sum("40,2"); err != nil {
			fmt.Fprintln(connection, err)
		} else {
			fmt.Fprintln(connection, line)
		}
		connection.Close()
	}
}

func main() {
	shown := flag.Bool("version", false, "print the version")
	numbers := flag.String("sum", "", "print the sum of these numbers")
	address := flag.String("listen", "", "serve /healthz there")
	flag.Parse()
	switch {
	case *shown:
		fmt.Println("sums", version)
	case *address != "":
		serve(*address)
	default:
		line, err := sum(*numbers)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(line)
	}
}
