// Command certutil stands in for Windows' own: only `certutil -hashfile FILE [ALGORITHM]`, with its texts and codes.
//
// Wine's certutil is a stub that prints nothing and returns 0. Format as documented and shown at
// https://learn.microsoft.com/windows-server/administration/windows-commands/certutil#-hashfile
package main

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"
	"syscall"
)

var algorithms = map[string]func() hash.Hash{
	"MD5": md5.New, "SHA1": sha1.New, "SHA256": sha256.New, "SHA384": sha512.New384, "SHA512": sha512.New,
}

// fail prints certutil's two error lines and ends with the HRESULT as the exit code.
func fail(code uint32, name, text string) {
	detail := fmt.Sprint(int32(code))
	if name != "" {
		detail = fmt.Sprintf("WIN32: %d %s", code&0xffff, name)
	}
	fmt.Printf("CertUtil: -hashfile command FAILED: 0x%08x (%s)\r\n", code, detail)
	fmt.Printf("CertUtil: %s\r\n", text)
	os.Exit(int(int32(code)))
}

func main() {
	args := os.Args[1:]
	if len(args) < 1 || !strings.EqualFold(strings.TrimLeft(args[0], "-/"), "hashfile") {
		fmt.Print("CertUtil: this stand-in of the lab knows only -hashfile\r\n")
		os.Exit(1)
	}
	if len(args) < 2 || len(args) > 3 {
		fmt.Print("Expected at least 1 args, received 0\r\nCertUtil: Missing argument\r\n")
		os.Exit(-2147024809) // 0x80070057
	}
	name := "SHA1"
	if len(args) == 3 {
		name = strings.ToUpper(args[2])
	}
	algorithm, known := algorithms[name]
	if !known {
		fail(0xd00000bb, "", "The request is not supported.")
	}
	digest := algorithm()
	if err := hashFile(digest, args[1]); err != nil {
		explain(err)
	}
	fmt.Printf("%s hash of %s:\r\n%x\r\nCertUtil: -hashfile command completed successfully.\r\n", name, args[1], digest.Sum(nil))
}

func hashFile(digest hash.Hash, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.IsDir() {
		return syscall.ERROR_ACCESS_DENIED
	}
	if info.Size() == 0 { // the real one cannot map an empty file
		fail(0x800703ee, "ERROR_FILE_INVALID", "The volume for a file has been externally altered so that the opened file is no longer valid.")
	}
	_, err = io.CopyBuffer(digest, struct{ io.Reader }{file}, make([]byte, 1<<20))
	return err
}

func explain(err error) {
	switch {
	case errors.Is(err, syscall.ERROR_PATH_NOT_FOUND):
		fail(0x80070003, "ERROR_PATH_NOT_FOUND", "The system cannot find the path specified.")
	case errors.Is(err, syscall.ERROR_FILE_NOT_FOUND):
		fail(0x80070002, "ERROR_FILE_NOT_FOUND", "The system cannot find the file specified.")
	case errors.Is(err, syscall.ERROR_ACCESS_DENIED):
		fail(0x80070005, "ERROR_ACCESS_DENIED", "Access is denied.")
	}
	fail(0x80070020, "ERROR_SHARING_VIOLATION",
		"The process cannot access the file because it is being used by another process.")
}
