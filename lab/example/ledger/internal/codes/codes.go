// Package codes knows the names of codes: zz_names.go is made of codes.csv by go generate, and is in no commit.
package codes

import _ "embed"

//go:generate go run ../gen codes.csv zz_names.go made.txt

// Made is a file of the commit that go generate replaces.
//
//go:embed made.txt
var Made string

// Name is the name of a code.
func Name(code int) string { return names[code] }
