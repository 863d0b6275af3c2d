package main

import "fmt"

// greeting is what / answers; `name` may be empty.
func greeting(name string) string {
	if name == "" {
		name = "world"
	}
	return fmt.Sprintf("Hello, %s, from %s.", name, version)
}
