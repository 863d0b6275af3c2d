// Package about has the one line that both programs print.
package about

import (
	"strings"

	"example.test/ledger/internal/codes"
	"example.test/ledger/internal/page"
)

// Line names a program, its version, what was embedded and what was generated.
func Line(program, version string) string {
	return strings.Join([]string{program, version, page.Title, codes.Name(2), codes.Made}, " ")
}
