// Package codes maps codes to names. go generate makes zz_names.go from codes.csv; it is in no commit.
package codes

import _ "embed"

//go:generate go run ../gen codes.csv zz_names.go made.txt

// Made is a file of the commit that go generate replaces.
//
//go:embed made.txt
var Made string

// Name is the name of a code.
func Name(code int) string { return names[code] }
