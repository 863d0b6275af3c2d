package main

// greeting is what / answers.
func greeting(string) string {
	return "Hello."
}
