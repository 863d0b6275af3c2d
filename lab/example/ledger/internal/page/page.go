// Package page has an embedded file.
package page

import _ "embed"

// Title is the content of title.txt, which has no line end.
//
//go:embed title.txt
var Title string
